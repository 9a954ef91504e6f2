use proptest::prelude::*;

use super::*;
use crate::{Command, Copy, MountKind, Network, Source};

fn steps(text: &str) -> Vec<Instruction> {
    let file = parse(&format!("FROM a\n{text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    file.stages[0].steps.iter().map(|step| step.instruction.clone()).collect()
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn stages_have_names_and_bases() {
    let file = parse(
        "# syntax=docker/dockerfile:1\nARG V=7\nFROM --platform=$BUILDPLATFORM node:${V} AS Build\nRUN x\nfrom scratch\nCOPY --from=build /a /b",
    )
    .expect("a Dockerfile");
    assert_eq!(file.syntax.as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(file.arguments.len(), 1);
    assert_eq!(file.stages[0].name.as_deref(), Some("build"));
    let base = Base { image: "node:${V}".to_owned(), platform: Some("$BUILDPLATFORM".to_owned()) };
    assert_eq!(file.stages[0].base, base);
    assert_eq!((file.stage("BUILD"), file.stage("1"), file.stage("2")), (Some(0), Some(1), None));
    assert_eq!(file.stages[1].place.line, 5);
}

#[test]
fn every_instruction_is_read() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let table = [
        (
            "ARG a b=\"c d\"",
            Instruction::Arg(vec![("a".to_owned(), None), ("b".to_owned(), Some("\"c d\"".to_owned()))]),
        ),
        ("ENV a=1 b='2 3'", Instruction::Env(vec![pair("a", "1"), pair("b", "'2 3'")])),
        ("ENV a  b c ", Instruction::Env(vec![pair("a", "b c")])),
        ("label x.y=z", Instruction::Label(vec![pair("x.y", "z")])),
        ("WORKDIR /a b", Instruction::Workdir("/a b".to_owned())),
        ("USER a:b", Instruction::User("a:b".to_owned())),
        ("EXPOSE 80 443/udp", Instruction::Expose(owned(&["80", "443/udp"]))),
        ("VOLUME [\"/a b\"]", Instruction::Volume(owned(&["/a b"]))),
        ("VOLUME /a /b", Instruction::Volume(owned(&["/a", "/b"]))),
        ("SHELL [\"/bin/bash\", \"-c\"]", Instruction::Shell(owned(&["/bin/bash", "-c"]))),
        ("STOPSIGNAL SIGQUIT", Instruction::StopSignal("SIGQUIT".to_owned())),
        (
            "ENTRYPOINT [\"node\", \"app.js\"]",
            Instruction::Entrypoint(Command::Exec(owned(&["node", "app.js"]))),
        ),
        ("CMD [\"not\", json]", Instruction::Cmd(Command::Shell("[\"not\", json]".to_owned()))),
        ("HEALTHCHECK --interval=5s CMD x", Instruction::Healthcheck),
        ("ONBUILD ADD . /src", Instruction::Onbuild("ADD . /src".to_owned())),
        ("MAINTAINER me <a@b>", Instruction::Maintainer("me <a@b>".to_owned())),
    ];
    for (text, want) in table {
        assert_eq!(steps(text), [want], "{text}");
    }
}

#[test]
fn copies_have_flags_and_heredocs() {
    let found =
        steps("COPY --from=x --chown=1:2 --chmod=755 --parents --link --exclude=*.a --exclude=b a \"c\" /d/");
    let want = Copy {
        sources: vec![Source::Path("a".to_owned()), Source::Path("\"c\"".to_owned())],
        target: "/d/".to_owned(),
        from: Some("x".to_owned()),
        chown: Some("1:2".to_owned()),
        chmod: Some("755".to_owned()),
        parents: true,
        excludes: owned(&["*.a", "b"]),
        ..Copy::default()
    };
    assert_eq!(found, [Instruction::Copy(want)]);
    let found = steps("COPY <<one <<\"two\" /d/\n1\none\n2\ntwo\nADD [\"a b\", \"/c\"]");
    let Instruction::Copy(copy) = &found[0] else { panic!("{found:?}") };
    let names = copy.sources.iter().map(|source| match source {
        Source::Heredoc(heredoc) => (heredoc.name.as_str(), heredoc.content.as_str(), heredoc.expand),
        Source::Path(path) => panic!("{path}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), [("one", "1\n", true), ("two", "2\n", false)]);
    let Instruction::Add(add) = &found[1] else { panic!("{found:?}") };
    assert_eq!(add.sources, [Source::Path("a b".to_owned())]);
}

#[test]
fn runs_have_mounts_networks_and_heredocs() {
    let found = steps("RUN --mount=type=cache,target=/c --network=none cat <<EOF > /x\nhi\nEOF");
    let Instruction::Run(run) = &found[0] else { panic!("{found:?}") };
    assert_eq!((run.mounts[0].kind, run.network), (MountKind::Cache, Network::None));
    assert_eq!(run.command, Command::Shell("cat <<EOF > /x".to_owned()));
    assert_eq!(run.heredocs[0].content, "hi\n");
    let found = steps("RUN [\"echo\", \"<<EOF\"]");
    assert!(matches!(&found[0], Instruction::Run(run) if run.heredocs.is_empty()), "{found:?}");
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, want) in [
        ("", "1:1: file with no instructions"),
        ("ARG a", "1:1: no build stage"),
        ("RUN x", "1:1: no build stage in current context"),
        ("FRM a", "1:1: unknown instruction: FRM"),
        ("FROM a\n  COPI x y", "2:3: unknown instruction: COPI"),
        ("FROM a b", "1:1: FROM requires either one or three arguments"),
        (
            "FROM a AS 1x",
            "1:11: invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
        ),
        ("FROM a AS scratch", "1:11: stage name \"scratch\" is reserved"),
        ("FROM a AS x\nFROM b AS X", "2:1: duplicate stage name \"x\""),
        ("FROM a\nCOPY --frm=x a b", "2:6: unknown flag: --frm"),
        ("FROM a\nCOPY --from a b", "2:6: missing a value on flag: --from"),
        ("FROM a\nADD --from=x a b", "2:5: unknown flag: --from"),
        ("FROM a\nCOPY --parents=x a b", "2:6: invalid value for --parents: x"),
        (
            "FROM a\nCOPY a",
            "2:1: COPY requires at least two arguments, but only one was provided. Destination could not be determined.",
        ),
        ("FROM a\nRUN", "2:1: RUN requires at least one argument"),
        ("FROM a\nRUN --mount=type=x,target=/a y", "2:5: unsupported mount type \"x\""),
        ("FROM a\nRUN --network=x y", "2:5: invalid network mode: \"x\""),
        ("FROM a\nRUN --security=insecure y", "2:5: security \"insecure\" is not allowed"),
        ("FROM a\nENV a", "2:5: ENV must have two arguments"),
        (
            "FROM a\nENV a=1 \\\n  b",
            "3:3: Syntax error - can't find = in \"b\". Must be of the form: name=value",
        ),
        ("FROM a\nENV =1", "2:5: ENV names can not be blank"),
        ("FROM a\nARG =1", "2:5: ARG names can not be blank"),
        ("FROM a\nSHELL sh", "2:7: SHELL requires the arguments to be in JSON form"),
        ("FROM a\nONBUILD ONBUILD RUN x", "2:9: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD FROM b", "2:9: FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD RNU b", "2:9: unknown instruction: RNU"),
        ("FROM a\nUSER --x y", "2:6: unknown flag: --x"),
        ("FROM a\nCOPY a <<x\nx", "2:6: COPY cannot accept a heredoc as a destination"),
        ("FROM a\n\0", "2:1: the file holds a zero byte"),
    ] {
        assert_eq!(
            parse(text).map(|_| String::new()).map_err(|error| error.to_string()),
            Err(want.to_owned()),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics(text in "(FROM a\n)?((RUN|COPY|ADD|ENV|ARG|LABEL|ONBUILD|SHELL|VOLUME|FROM|CMD) [-a-z<=\"'\\\\\\[\\]{}$, é\n]{0,24}\n?){0,4}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.place.line >= 1 && error.place.column >= 1);
            let _ = error.place.excerpt("Dockerfile", &text);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = parse(&text);
    }
}
