//! What is wrong with a pod's mounted volumes, and which of it is worth a warning in the log.

use std::collections::BTreeSet;
use std::fmt::Display;

/// What was wrong with a pod's volumes when they were last refreshed.
#[derive(Default)]
pub(super) struct Complaints(BTreeSet<String>);

impl Complaints {
    /// Takes in what is wrong now. Returns each failure with whether a warning is due: once while the failure lasts,
    /// and never for a pod that is being deleted, whose Secrets and ConfigMaps may go before its end.
    pub fn renew(&mut self, failed: &[impl Display], deleted: bool) -> Vec<(String, bool)> {
        let now: Vec<String> = failed.iter().map(ToString::to_string).collect();
        let due = |text: &String| !deleted && !self.0.contains(text);
        let judged = now.iter().map(|text| (text.clone(), due(text))).collect();
        self.0 = now.into_iter().collect();
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_worth_one_warning_while_it_lasts() {
        let mut complaints = Complaints::default();
        let mut due = |failed: &[&str]| -> Vec<bool> {
            complaints.renew(failed, false).into_iter().map(|(_, due)| due).collect()
        };
        assert_eq!(due(&["a"]), [true]);
        assert_eq!(due(&["a", "b"]), [false, true]);
        assert_eq!(due(&[]), [false; 0]);
        assert_eq!(due(&["a"]), [true], "it was cured in between");
    }

    #[test]
    fn what_a_pod_lacks_that_is_being_deleted_is_worth_none() {
        let told = Complaints::default().renew(&["a"], true);
        assert_eq!(told, [("a".to_owned(), false)]);
    }
}
