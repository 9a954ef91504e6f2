//! Descriptions and printed objects, compared with what stock kubectl makes of the same objects.
//!
//! A scenario is a file of `tests/golden`: objects, and the lines that are asked for. Beside it lies the golden file with
//! stock kubectl's output. `KNARR_GOLDEN_KUBECTL=/path/to/kubectl cargo test -p cli --test golden` records the golden files
//! anew: the test then serves the objects on the loopback and has that program print and describe them.

#[path = "golden/cluster.rs"]
mod cluster;
#[path = "golden/hostile.rs"]
mod hostile;
#[path = "golden/record.rs"]
mod record;
#[path = "golden/scenario.rs"]
mod scenario;

use std::fs;
use std::path::{Path, PathBuf};

use cluster::Cluster;
use scenario::{Line, Scenario};

const RECORDER: &str = "KNARR_GOLDEN_KUBECTL";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The output of a line: standard output, then the error.
fn ours(cluster: &Cluster, line: &Line, now: jiff::Timestamp) -> String {
    let object = match cluster.find(&line.kind, line.namespace.as_deref(), &line.name) {
        Some(object) => object,
        None => panic!("no {} {:?} in the scenario", line.kind, line.name),
    };
    if line.output.is_empty() {
        return match cli::describe::describe_in(&jiff::tz::TimeZone::UTC, cluster, &object, now, true) {
            Ok(text) => text,
            Err(error) => format!("error: {error}\n"),
        };
    }
    let mut out = Vec::new();
    let done = cli::printing::print(&line.format(&folder()), &object, &mut out);
    let mut text = String::from_utf8(out).expect("printed text is UTF-8");
    if let Err(error) = done {
        text.push_str(&format!("error: {error}"));
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    text
}

fn check(name: &str) {
    let path = folder().join(name).with_extension("json");
    let scenario: Scenario = Scenario::read(&fs::read_to_string(&path).expect("the scenario is there"));
    let golden_path = folder().join(name).with_extension("golden");
    if let Some(kubectl) = std::env::var_os(RECORDER) {
        fs::write(&golden_path, record::record(Path::new(&kubectl), &scenario, &folder())).expect("written");
    }
    let golden = fs::read_to_string(&golden_path).expect("the golden file is there");
    let (now, mut rest) = golden.split_once('\n').expect("the first line is the time");
    let now = now.strip_prefix("now: ").expect("the time").parse().expect("a time");
    let cluster = Cluster::new(scenario.objects);
    let mut wrong = Vec::new();
    for line in &scenario.lines {
        let text = format!("$ {}\n{}", line.shown(), scenario::closed(&ours(&cluster, line, now)));
        match rest.strip_prefix(text.as_str()) {
            Some(behind) => rest = behind,
            None => {
                let next = rest[1..].find("\n$ ").map_or(rest.len(), |at| at + 2);
                wrong.push(format!("--- kubectl\n{}+++ knarr\n{text}", &rest[..next]));
                rest = &rest[next..];
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} lines of {name} differ:\n{}",
        wrong.len(),
        scenario.lines.len(),
        wrong.join("\n")
    );
    assert_eq!(rest, "", "more golden text than lines");
}

/// A test for each scenario, and a check that none is without.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_scenario_has_a_test() {
            let names = [$(stringify!($name)),*];
            for entry in fs::read_dir(folder()).expect("the folder is there") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
                    assert!(names.contains(&stem), "{stem} has no test");
                }
            }
        }
    };
}

scenarios! {
    describe_network,
    describe_nodes,
    describe_others,
    describe_pods,
    describe_workloads,
    printing_values,
}
