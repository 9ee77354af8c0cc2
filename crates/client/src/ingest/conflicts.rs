//! Path conflicts: new files that the server would refuse because another path differs only by
//! case, or because one path lies under the other. Invariant: a dry run and a run refuse the same
//! files, by the rule of the server's commit, before anything is sent.

use std::collections::{BTreeMap, HashSet};

use panaversity_model::path::folders_above;
use panaversity_model::{BookPath, Refusal};

use super::compare::Job;
use super::{Doomed, Held};
use crate::report::Problem;

/// Splits the files into those that may be written and those that are refused. `held` is the
/// server's current content, `doomed` the part of it that this run deletes first. Of two
/// conflicting new files the first in path order is written.
pub(super) fn refuse(different: Vec<Job>, held: &Held, doomed: &Doomed) -> (Vec<Job>, Vec<Problem>) {
    let doomed: HashSet<&str> = doomed.iter().map(|(path, _)| path.as_str()).collect();
    let staying = held.keys().filter(|path| !doomed.contains(path.as_str()));
    let mut taken: BTreeMap<String, BookPath> =
        staying.filter_map(|path| BookPath::parse(path).ok()).map(|path| (path.folded(), path)).collect();
    let (mut writable, mut refused) = (Vec::with_capacity(different.len()), Vec::new());
    for job in different {
        let path = &job.file.path;
        let folded = path.folded();
        if let Some(other) = in_the_way(&taken, &folded).filter(|_| job.expected.is_none()) {
            let why = Refusal::path_conflict(path, other);
            let reason = format!("{why}; rename one of the two, or delete the other from the book");
            refused.push(Problem::new(path.as_str(), reason));
        } else {
            taken.insert(folded, path.clone());
            writable.push(job);
        }
    }
    (writable, refused)
}

/// The existing path that conflicts with a new one of this folded name.
fn in_the_way<'a>(taken: &'a BTreeMap<String, BookPath>, folded: &str) -> Option<&'a BookPath> {
    let beside = || taken.get(folded);
    let above = || folders_above(folded).find_map(|folder| taken.get(folder));
    let below = || {
        let from = format!("{folded}/");
        taken.range(from.clone()..).next().filter(|(name, _)| name.starts_with(&from)).map(|(_, path)| path)
    };
    beside().or_else(above).or_else(below)
}
