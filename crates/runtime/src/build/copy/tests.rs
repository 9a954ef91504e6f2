use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use super::*;

/// Writes down what is copied.
#[derive(Default)]
struct Recording(Vec<String>);

impl Sink for Recording {
    fn file(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut text = String::new();
        content.read_to_string(&mut text)?;
        let shown = match what {
            What::File { .. } => format!("{} {text}", path.display()),
            What::Folder => format!("{}/", path.display()),
            What::Link(target) => format!("{} -> {}", path.display(), target.display()),
            other => format!("{} {other:?}", path.display()),
        };
        self.0.push(format!("{shown} {:o}", attributes.mode & 0o777));
        Ok(())
    }
}

struct World {
    dir: tempfile::TempDir,
    context: Folder,
    base: Folder,
}

fn world() -> World {
    let dir = tempfile::tempdir().expect("a folder");
    let (context, base) = (dir.path().join("context"), dir.path().join("base"));
    fs::create_dir_all(context.join("src/deep")).expect("folders");
    fs::create_dir_all(base.join("usr/bin")).expect("folders");
    symlink("usr/bin", base.join("bin")).expect("a link");
    fs::write(base.join("file"), "").expect("written");
    for (name, text) in [("a.txt", "A"), ("b.txt", "B"), ("src/one", "1"), ("src/deep/two", "2")] {
        fs::write(context.join(name), text).expect("written");
    }
    symlink("/etc/passwd", context.join("out")).expect("a link");
    symlink("one", context.join("src/link")).expect("a link");
    let root = |path: &PathBuf| Folder::root(std::slice::from_ref(path)).expect("a root");
    World { context: root(&context), base: root(&base), dir }
}

fn copied(plan: Plan, patterns: &[&str]) -> Result<Vec<String>, String> {
    let world = world();
    let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    let mut recording = Recording::default();
    let plan = Plan { mode: plan.mode.or(Some(0o600)), ..plan };
    let source = From::Tree { root: &world.context, patterns: &patterns };
    copy(&plan, &world.base, &[source], &mut recording).map_err(|error| error.to_string())?;
    Ok(recording.0.iter().map(|line| line.trim_end_matches(" 600").to_owned()).collect())
}

fn to(target: &str) -> Plan {
    Plan { target: target.to_owned(), ..Plan::default() }
}

#[test]
fn files_and_folders_go_where_buildkit_puts_them() {
    let check = |patterns: &[&str], target: &str, want: &[&str]| {
        assert_eq!(
            copied(to(target), patterns),
            Ok(want.iter().map(|s| (*s).to_owned()).collect()),
            "{target}"
        );
    };
    check(&["a.txt"], "/app", &["app A"]);
    check(&["a.txt"], "/app/", &["app/ 755", "app/a.txt A"]);
    check(&["a.txt"], "/bin", &["usr/bin/a.txt A"]);
    check(&["a.txt"], "/bin/tool", &["usr/bin/tool A"]);
    check(&["*.txt"], "/d/", &["d/ 755", "d/a.txt A", "d/b.txt B"]);
    check(&["./src/"], "/s", &["s/ 755", "s/deep/", "s/deep/two 2", "s/link -> one 777", "s/one 1"]);
    check(&["src/link"], "/x", &["x 1"]);
    check(&["../../src/o?e"], "/x", &["x 1"]);
}

/// What lies in the context over a tree whose `bin` is a link to `usr/bin` and whose `lost` leads nowhere yet.
#[test]
fn folders_go_where_links_of_the_tree_lead() {
    let world = world();
    let rootfs = world.dir.path().join("context/rootfs");
    for (file, text) in [("bin/foo", "F"), ("bin/deep/bar", "B"), ("lost/x", "X"), ("usr/bin/own", "O")] {
        fs::create_dir_all(rootfs.join(file).parent().expect("a folder")).expect("folders");
        fs::write(rootfs.join(file), text).expect("written");
    }
    symlink("/var/found", world.dir.path().join("base/lost")).expect("a link");
    let copied = |plan: Plan, pattern: &str| {
        let (mut recording, patterns) = (Recording::default(), [pattern.to_owned()]);
        let source = From::Tree { root: &world.context, patterns: &patterns };
        let plan = Plan { mode: Some(0o600), ..plan };
        copy(&plan, &world.base, &[source], &mut recording).map_err(|error| error.to_string())?;
        Ok(recording.0)
    };
    let want = [
        "usr/bin/deep/ 600",
        "usr/bin/deep/bar B 600",
        "usr/bin/foo F 600",
        "var/ 755",
        "var/found/ 755",
        "var/found/x X 600",
        "usr/ 600",
        "usr/bin/ 600",
        "usr/bin/own O 600",
    ];
    assert_eq!(copied(to("/"), "rootfs/"), Ok(want.map(str::to_owned).to_vec()));
    let parents = Plan { parents: true, ..to("/") };
    let deep = ["usr/bin/deep/ 755", "usr/bin/deep/bar B 600"].map(str::to_owned).to_vec();
    assert_eq!(copied(parents.clone(), "rootfs/./bin/deep/bar"), Ok(deep.clone()));
    assert_eq!(copied(parents, "rootfs/./bin/deep"), Ok(deep));
    fs::create_dir(rootfs.join("file")).expect("a folder");
    let refused: Result<Vec<String>, String> = copied(to("/"), "rootfs/");
    assert_eq!(refused, Err("cannot copy to non-directory: /file".to_owned()));
}

#[test]
fn parents_are_kept_and_patterns_leave_out() {
    let plan = Plan { parents: true, ..to("/p/") };
    assert_eq!(
        copied(plan.clone(), &["src/deep/two"]),
        Ok(["p/ 755", "p/src/ 755", "p/src/deep/ 755", "p/src/deep/two 2"].map(str::to_owned).to_vec())
    );
    assert_eq!(copied(plan, &["src/./deep/two"]).map(|all| all.len()), Ok(3));
    let excludes = Ignore::of(&["deep".to_owned(), "l*".to_owned()]).expect("patterns");
    let found = copied(Plan { excludes, ..to("/s") }, &["src"]);
    assert_eq!(found, Ok(vec!["s/ 755".to_owned(), "s/one 1".to_owned()]));
}

#[test]
fn nothing_outside_is_found_and_mistakes_are_told() {
    let refused = |patterns: &[&str], target: &str| copied(to(target), patterns).expect_err("refused");
    assert_eq!(refused(&["out"], "/x"), "\"/out\": not found");
    assert_eq!(refused(&["../../../etc/passwd"], "/x"), "\"/etc/passwd\": not found");
    assert_eq!(refused(&["none*"], "/x"), "\"/none*\": not found");
    assert_eq!(refused(&["["], "/x"), "syntax error in pattern \"[\"");
    assert_eq!(refused(&["src"], "/file"), "cannot copy to non-directory: /file");
    assert!(refused(&["a.txt"], "/file/x").contains("Not a directory"));
}

/// Each has a mode of its own; the plan's wins.
#[test]
fn files_of_no_tree_have_their_own_modes() {
    let world = world();
    let fetched = world.dir.path().join("fetched");
    fs::write(&fetched, "U").expect("written");
    let files = [
        Single { name: "doc".to_owned(), mode: 0o644, content: SingleContent::Text("D".to_owned()) },
        Single { name: "url".to_owned(), mode: 0o600, content: SingleContent::File(fetched) },
    ];
    let copied = |plan: Plan| {
        let mut recording = Recording::default();
        copy(&plan, &world.base, &[From::Single(&files)], &mut recording).expect("copied");
        recording.0
    };
    assert_eq!(copied(to("/bin/")), ["usr/bin/doc D 644", "usr/bin/url U 600"]);
    let plan = Plan { mode: Some(0o755), ..to("/bin/") };
    assert_eq!(copied(plan), ["usr/bin/doc D 755", "usr/bin/url U 755"]);
}
