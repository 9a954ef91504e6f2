//! Scenario tests' expected output, kept in `testdata`. `UPDATE_GOLDEN=1` writes it anew.

use std::path::PathBuf;

/// Compares `actual` with `testdata/<name>.txt`.
pub(crate) fn check(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("the path has a folder")).expect("a writable folder");
        std::fs::write(&path, actual).expect("a writable file");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{} differs (UPDATE_GOLDEN=1 writes it anew)", path.display());
}
