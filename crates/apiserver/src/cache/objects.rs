//! Objects in key order, as a value: a copy costs nothing and is not affected by later writes.
//!
//! The objects are in runs of at most [`RUN`] behind shared pointers. A write copies the run of its key, and
//! the list of runs, only while an older copy exists.

use std::sync::Arc;

use super::Entry;

/// Entries in a run. A write under a reader's eyes copies as many pointers, a list of 50,000 has 400 to 800 runs.
const RUN: usize = 128;

type Run = Arc<Vec<Arc<Entry>>>;

/// Entries by their keys. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects {
    /// None is empty.
    runs: Arc<Vec<Run>>,
    len: usize,
}

impl Objects {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        let run = self.runs.get(self.run_of(key))?;
        place(run, key).ok().map(|at| &run[at])
    }

    /// Puts the entry in the place of its key; gives what stood there.
    pub fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let index = self.run_of(&entry.key);
        let runs = Arc::make_mut(&mut self.runs);
        let Some(run) = runs.get_mut(index) else {
            runs.push(Arc::new(vec![entry]));
            self.len += 1;
            return None;
        };
        let entries = Arc::make_mut(run);
        match place(entries, &entry.key) {
            Ok(at) => return Some(std::mem::replace(&mut entries[at], entry)),
            Err(at) if entries.len() < RUN => entries.insert(at, entry),
            // What is loaded comes in order: full runs are left behind.
            Err(at) if at == RUN => runs.insert(index + 1, Arc::new(vec![entry])),
            Err(at) => {
                let mut upper = entries.split_off(RUN / 2);
                match at.checked_sub(RUN / 2) {
                    Some(at) => upper.insert(at, entry),
                    None => entries.insert(at, entry),
                }
                entries.shrink_to_fit();
                runs.insert(index + 1, Arc::new(upper));
            }
        }
        self.len += 1;
        None
    }

    pub fn remove(&mut self, key: &str) -> Option<Arc<Entry>> {
        let index = self.run_of(key);
        let at = place(self.runs.get(index)?, key).ok()?;
        let runs = Arc::make_mut(&mut self.runs);
        let entries = Arc::make_mut(&mut runs[index]);
        let removed = entries.remove(at);
        self.len -= 1;
        // Few entries join the run after theirs, so that runs never outnumber a quarter of what full ones hold.
        let few = entries.len() <= RUN / 4;
        if entries.is_empty() {
            runs.remove(index);
        } else if few && let Some(next) = runs.get(index + 1).filter(|next| next.len() <= RUN / 2).cloned() {
            Arc::make_mut(&mut runs[index]).extend(next.iter().cloned());
            runs.remove(index + 1);
        }
        Some(removed)
    }

    /// Those whose keys begin with `prefix` and are greater than `after`, in order.
    pub fn range<'o>(
        &'o self,
        prefix: &'o str,
        after: &str,
    ) -> impl Iterator<Item = &'o Arc<Entry>> + use<'o> {
        let from = if after > prefix { after } else { prefix };
        let first = self.run_of(from);
        let skipped = self.runs.get(first).map_or(0, |run| match place(run, from) {
            Ok(at) => at + usize::from(after > prefix),
            Err(at) => at,
        });
        self.runs[first.min(self.runs.len())..]
            .iter()
            .flat_map(|run| run.iter())
            .skip(skipped)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    /// The run that holds `key` or would: the last that begins with no greater one.
    fn run_of(&self, key: &str) -> usize {
        self.runs.partition_point(|run| run.first().is_some_and(|first| *first.key <= *key)).saturating_sub(1)
    }
}

fn place(entries: &[Arc<Entry>], key: &str) -> Result<usize, usize> {
    entries.binary_search_by(|entry| (*entry.key).cmp(key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cache::ResourceSpec;
    use crate::cache::resource_spec::things;

    fn entry(spec: &Arc<ResourceSpec>, key: &str, revision: u64) -> Arc<Entry> {
        Entry::new(spec, key.into(), b"{}", revision).unwrap()
    }

    fn seen(objects: &Objects, prefix: &str, after: &str) -> Vec<(String, u64)> {
        objects.range(prefix, after).map(|e| (e.key.to_string(), e.revision)).collect()
    }

    #[test]
    fn it_holds_what_a_sorted_map_holds_and_copies_stay_as_they_were() {
        let spec = things();
        let (mut objects, mut model) = (Objects::default(), BTreeMap::new());
        let mut held: Vec<(Objects, Vec<(String, u64)>)> = Vec::new();
        // The same numbers each time: a run that fails fails again.
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for step in 1..=6_000_u64 {
            // Grows, then shrinks.
            let key = format!("/registry/things/{}/{:04}", ["a", "a-b", "b"][next(3) as usize], next(700));
            if next(10) < if step < 3_500 { 7 } else { 2 } {
                let was = objects.insert(entry(&spec, &key, step)).map(|e| e.revision);
                assert_eq!(was, model.insert(key, step));
            } else {
                assert_eq!(objects.remove(&key).map(|e| e.revision), model.remove(&key));
            }
            if step % 500 == 0 {
                let all = model.iter().map(|(k, v)| (k.clone(), *v)).collect();
                held.push((objects.clone(), all));
            }
        }
        for (copy, all) in &held {
            assert_eq!((copy.len(), &seen(copy, "/registry/things/", "")), (all.len(), all));
            assert!(copy.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN));
            for prefix in ["/registry/things/a/", "/registry/things/b/", "/registry/things/c/"] {
                for after in
                    ["", "/registry/things/a/0350", "/registry/things/a/x", "/registry/things/b/03505"]
                {
                    let wanted: Vec<_> = all
                        .iter()
                        .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
                        .cloned()
                        .collect();
                    assert_eq!(seen(copy, prefix, after), wanted, "{prefix} {after}");
                }
            }
            assert!(all.iter().all(|(key, revision)| copy.get(key).is_some_and(|e| e.revision == *revision)));
        }
        for key in model.into_keys() {
            assert!(objects.remove(&key).is_some());
        }
        assert_eq!(
            (objects.len(), objects.runs.len(), objects.get("/registry/things/a/x").is_none()),
            (0, 0, true)
        );
    }

    #[test]
    fn what_comes_in_order_fills_the_runs() {
        let (spec, mut objects) = (things(), Objects::default());
        for n in 0..1_000 {
            objects.insert(entry(&spec, &format!("/registry/things/a/{n:04}"), 1));
        }
        assert_eq!(objects.runs.len(), 1_000_usize.div_ceil(RUN));
    }
}
