//! Images built from Dockerfiles: W009.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::suite::{Row, Scene};

pub const ROWS: &[Row] = &[("w009_an_image_is_built_and_runs_as_a_pod", w009)];

/// A stand-in for the base image of the next one: a shell of Debian's and a web server called `node`.
const BASE: &str = r#"# syntax=docker/dockerfile:1
ARG SHELLS=busybox:1.36
FROM ${SHELLS} AS base
ARG SHELLS
WORKDIR /srv
COPY --from=luksa/kubia /testserver /bin/node
COPY --chmod=640 --chown=1000:1000 <<one.txt /srv/${NOTHING:-made}/
by $SHELLS
one.txt
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch --mount=type=secret,id=word \
    echo again >> /cache/count && touch /scratch/x \
    # a comment inside
    && wc -c < /run/secrets/word > length && rm /etc/group && ln -s length linked
RUN <<EOF
set -e
test "$SHELLS" = busybox:1.36
test -e /sys/class/net/eth0
test ! -e /scratch -o -z "$(ls /scratch)"
echo built > said
EOF

FROM base AS unused
RUN exit 9

FROM base
ENV PORT=8080 GREETING="hello world"
LABEL by=w009
"#;
const SEED: &str = "FROM node:7\n\nADD app.js /app.js\nENTRYPOINT [\"node\", \"app.js\"]\n";

fn build(scene: &Scene, folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let folder = folder.to_str().expect("UTF-8");
    let whole: Vec<&str> = ["image", "build"].iter().chain(arguments).chain([&folder]).copied().collect();
    scene.cluster().knarr(&whole).map_err(|error| format!("{error:#}"))
}

fn w009(scene: &Scene) {
    let sh = &scene.shell;
    let (base, app) = (sh.dir().join("base"), sh.dir().join("app"));
    for (folder, dockerfile) in [(&base, BASE), (&app, SEED)] {
        fs::create_dir(folder).expect("a folder");
        fs::write(folder.join("Dockerfile"), dockerfile).expect("written");
    }
    fs::write(app.join("app.js"), "// a stand-in\n").expect("written");
    fs::write(app.join(".dockerignore"), "*.log\n").expect("written");
    fs::write(app.join("left-out.log"), "x").expect("written");
    let word = sh.dir().join("word");
    fs::write(&word, "1234567").expect("written");
    let secret = format!("id=word,src={}", word.display());
    build(scene, &base, &["-t", "node:7", "--secret", &secret, "--progress", "plain"]).expect("built");
    let started = Instant::now();
    build(scene, &app, &["-t", "kubia"]).expect("built");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let id = build(scene, &app, &["-t", "kubia", "-q"]).expect("built from the cache");
    assert!(id.starts_with("sha256:"), "{id}");
    scene.cluster().knarr(&["image", "tag", "kubia", "luksa/kubia-built"]).expect("tagged");
    sh.ok("kubectl run kubia --image=luksa/kubia-built --image-pull-policy=IfNotPresent --port=8080");
    sh.ok("kubectl wait pod/kubia --for=condition=Ready --timeout=60s");
    let hit = sh.ok("curl -s http://$(kubectl get pod kubia -o jsonpath={.status.podIP}):8080");
    assert!(hit.contains("You've hit kubia"), "{hit}");
    let inside = |command: &str| sh.ok(&format!("kubectl exec kubia -- sh -c '{command}'"));
    assert_eq!(inside("cat said length linked; cat made/one.txt").trim(), "built\n7\n7\nby busybox:1.36");
    let attributes = inside("stat -c %a:%u made/one.txt; ls -d /etc/group /left-out.log 2>/dev/null; pwd");
    assert_eq!(attributes.trim(), "640:1000\n/srv");
    assert_eq!(inside("echo $GREETING; test -e /run/secrets/word || echo none").trim(), "hello world\nnone");
    let shown = scene.cluster().knarr(&["image", "inspect", "kubia"]).expect("inspected");
    assert!(shown.contains("\"by\": \"w009\"") && shown.contains("luksa/kubia-built"), "{shown}");
    refusals(scene);
    for name in ["luksa/kubia-built", "kubia", "node:7"] {
        scene.cluster().knarr(&["image", "rm", name]).expect("removed");
    }
}

/// What is wrong is told with its place, and what leads out of the context finds nothing.
fn refusals(scene: &Scene) {
    let folder = scene.shell.dir().join("bad");
    fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink("/etc", folder.join("out")).expect("a link");
    for (dockerfile, told) in [
        ("FROM scratch\n  COPI a b\n", "Dockerfile:2:3: unknown instruction: COPI"),
        ("FROM scratch\nCOPY out/shadow /x\n", "\"/out/shadow\": not found"),
        ("FROM scratch\nCOPY ../../../etc/passwd /x\n", "\"/etc/passwd\": not found"),
        ("FROM node:7\nRUN echo said >&2; exit 3\n", "did not complete successfully: exit code: 3"),
        ("FROM node:7\nRUN --network=host true\n", "network.host is not allowed"),
        ("FROM node:7\nRUN --network=none test -e /sys/class/net/eth0\n", "exit code: 1"),
        ("FROM --platform=linux/s390x scratch\n", "not for linux/s390x"),
        ("FROM scratch\nENV A=${B:?wanted}\n", "B: wanted"),
    ] {
        fs::write(folder.join("Dockerfile"), dockerfile).expect("written");
        let error = build(scene, &folder, &[]).expect_err(dockerfile);
        assert!(error.contains(told), "{dockerfile}{error}");
    }
}
