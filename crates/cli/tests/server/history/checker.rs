//! Linearizability checker: is there an order of the operations, consistent with their times, in
//! which one register per file gives these answers (Wing and Gong's search, with Lowe's memory of
//! visited states)?
//!
//! # Search
//! 1. Files are independent of each other, so each is searched alone.
//! 2. Next in order may be any operation requested before the earliest answer of all that are not
//!    placed yet.
//! 3. A read that fits is placed first, alone: it changes nothing, so placing it early never hurts.
//! 4. Otherwise each acknowledged change that fits is tried, and each unknown one; the unknown need
//!    not be placed at all.
//! 5. A state (the placed operations, the file's content) is never visited twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::record::{Action, Held, Operation, Outcome};

/// Number of operations shown around the point where a search got stuck.
const SHOWN: usize = 24;

/// Pairs of acknowledged changes of one content: one of them is a lost update.
pub(super) fn forks(history: &[Operation]) -> Vec<(Operation, Operation)> {
    let (mut heirs, mut forks) = (HashMap::new(), Vec::new());
    for operation in history {
        if let Some((Some(from), _)) = operation.acknowledged()
            && let Some(first) = heirs.insert((operation.file, from), *operation)
        {
            forks.push((first, *operation));
        }
    }
    forks
}

/// Searches an order for every file; the error shows where the first search got stuck.
pub(super) fn linearizable(history: &[Operation]) -> Result<(), String> {
    let mut files: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        files.entry(operation.file).or_default().push(*operation);
    }
    files.into_values().try_for_each(|operations| Search::of(operations).run())
}

/// The operations of one file, in the order of their requests.
struct Search {
    answered: Vec<Operation>,
    /// Changes with unknown outcome by the content they expect, each with its request time, number
    /// and new content.
    unknown: HashMap<Held, Vec<(Duration, usize, Held)>>,
}

/// State of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct SearchState {
    /// All answered operations before this one are placed.
    before: usize,
    /// Placed operations after it.
    ahead: BTreeSet<usize>,
    /// Placed operations with unknown outcome.
    happened: BTreeSet<usize>,
    holds: Held,
}

impl Search {
    fn of(mut operations: Vec<Operation>) -> Self {
        operations.sort_by_key(|operation| operation.asked);
        let mut unknown: HashMap<Held, Vec<_>> = HashMap::new();
        for (number, operation) in operations.iter().enumerate() {
            if let Some((from, to)) = operation.in_doubt() {
                unknown.entry(from).or_default().push((operation.asked, number, to));
            }
        }
        operations.retain(|operation| !matches!(operation.outcome, Outcome::Unknown | Outcome::Failed));
        Self { answered: operations, unknown }
    }

    fn run(&self) -> Result<(), String> {
        let (mut open, mut seen) = (vec![SearchState::default()], HashSet::new());
        let mut furthest = SearchState::default();
        while let Some(place) = open.pop() {
            if place.before == self.answered.len() {
                return Ok(());
            }
            if place.before >= furthest.before {
                furthest = place.clone();
            }
            if seen.insert(place.clone()) {
                open.extend(self.next(&place));
            }
        }
        let shown = &self.answered[furthest.before..];
        let shown: Vec<_> = shown.iter().take(SHOWN).map(|one| format!("  {one:?}")).collect();
        Err(format!("no order after {furthest:?}; next would be one of\n{}", shown.join("\n")))
    }

    /// The successors of a state, most promising last.
    fn next(&self, place: &SearchState) -> Vec<SearchState> {
        let (candidates, deadline) = self.candidates(place);
        let (mut findings, mut changes) = (Vec::new(), Vec::new());
        for number in candidates {
            let operation = &self.answered[number];
            match (operation.act, operation.outcome) {
                (_, Outcome::Found(found)) if found == place.holds => findings.push(number),
                (Action::Change { from, to }, Outcome::Changed) if from == place.holds => {
                    changes.push((number, to));
                }
                _ => {}
            }
        }
        if let Some(number) = findings.first() {
            return vec![place.with(*number, place.holds)];
        }
        let maybe = self.unknown.get(&place.holds).into_iter().flatten();
        let maybe = maybe.filter(|(asked, number, _)| *asked <= deadline && !place.happened.contains(number));
        let mut next: Vec<SearchState> = maybe
            .map(|(_, number, to)| {
                let mut next = SearchState { holds: *to, ..place.clone() };
                next.happened.insert(*number);
                next
            })
            .collect();
        next.extend(changes.into_iter().map(|(number, to)| place.with(number, to)));
        next
    }

    /// Operations requested before the earliest answer among all that are not placed, and the time
    /// of that answer.
    fn candidates(&self, place: &SearchState) -> (Vec<usize>, Duration) {
        let (mut candidates, mut first_answer) = (Vec::new(), Duration::MAX);
        for number in place.before..self.answered.len() {
            let operation = &self.answered[number];
            if operation.asked > first_answer {
                break;
            }
            if !place.ahead.contains(&number) {
                first_answer = first_answer.min(operation.answered);
                candidates.push(number);
            }
        }
        candidates.retain(|number| self.answered[*number].asked <= first_answer);
        (candidates, first_answer)
    }
}

impl SearchState {
    /// The state with one more answered operation placed.
    fn with(&self, number: usize, holds: Held) -> Self {
        let mut next = Self { holds, ..self.clone() };
        next.ahead.insert(number);
        while next.ahead.remove(&next.before) {
            next.before += 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Content;
    use super::*;

    const READ: Action = Action::Read;

    fn held(content: u32) -> Held {
        (content > 0).then_some(Content(content))
    }

    /// A change from and to the contents with these numbers; 0 means no file.
    fn change(from: u32, to: u32) -> Action {
        Action::Change { from: held(from), to: held(to) }
    }

    fn found(content: u32) -> Outcome {
        Outcome::Found(held(content))
    }

    /// Client, operation, outcome, and the times of request and answer.
    type Line = (usize, Action, Outcome, u64, u64);

    fn history(lines: &[Line]) -> Vec<Operation> {
        let ms = Duration::from_millis;
        let operation = |&(client, act, outcome, asked, answered): &Line| Operation {
            client,
            file: 0,
            act,
            outcome,
            asked: ms(asked),
            answered: ms(answered),
        };
        lines.iter().map(operation).collect()
    }

    use Outcome::{Changed, Unknown};

    #[test]
    fn histories_of_one_register_are_accepted() {
        let accepted: [&[Line]; 7] = [
            &[],
            // Sequential operations.
            &[
                (0, READ, found(0), 0, 1),
                (0, change(0, 1), Changed, 2, 3),
                (1, change(0, 2), found(1), 4, 5),
                (1, change(1, 2), Changed, 6, 7),
                (0, READ, found(2), 8, 9),
                (0, change(2, 0), Changed, 10, 11),
                (1, READ, found(0), 12, 13),
            ],
            // Reads concurrent with a change see either content, the new one even before the change
            // is answered.
            &[
                (0, change(0, 1), Changed, 0, 100),
                (1, READ, found(0), 10, 20),
                (2, READ, found(1), 15, 60),
                (1, READ, found(1), 70, 80),
            ],
            // A chain of changes that were all requested at the same time.
            &[
                (0, change(1, 2), Changed, 0, 100),
                (1, change(0, 1), Changed, 0, 100),
                (2, change(2, 3), Changed, 0, 100),
                (3, READ, found(3), 110, 120),
            ],
            // A change with unknown outcome is applied, long after the client gave up.
            &[(0, change(0, 1), Unknown, 0, 10), (1, READ, found(0), 20, 30), (1, READ, found(1), 40, 50)],
            // Or never, although other changes followed.
            &[
                (0, change(0, 1), Unknown, 0, 10),
                (1, change(0, 2), Changed, 20, 30),
                (1, READ, found(2), 40, 50),
            ],
            // Or between two that were answered.
            &[
                (0, change(0, 1), Changed, 0, 10),
                (1, change(1, 0), Unknown, 20, 30),
                (2, change(0, 2), Changed, 40, 50),
                (2, READ, found(2), 60, 70),
            ],
        ];
        for lines in accepted {
            assert_eq!(linearizable(&history(lines)), Ok(()), "{lines:?}");
        }
    }

    #[test]
    fn what_no_register_does_is_rejected() {
        let rejected: [(&str, &[Line]); 8] = [
            ("a stale read", &[(0, change(0, 1), Changed, 0, 10), (1, READ, found(0), 20, 30)]),
            (
                "a read that goes back in time",
                &[
                    (0, change(0, 1), Changed, 0, 100),
                    (1, READ, found(1), 10, 20),
                    (1, READ, found(0), 30, 40),
                ],
            ),
            (
                "a lost update",
                &[
                    (0, change(0, 1), Changed, 0, 10),
                    (0, change(1, 2), Changed, 20, 30),
                    (1, READ, found(1), 40, 50),
                ],
            ),
            (
                "a fork",
                &[
                    (0, change(0, 1), Changed, 0, 10),
                    (0, change(1, 2), Changed, 20, 40),
                    (1, change(1, 3), Changed, 20, 40),
                ],
            ),
            ("two creators", &[(0, change(0, 1), Changed, 0, 10), (1, change(0, 2), Changed, 0, 10)]),
            ("a read of the future", &[(1, READ, found(1), 0, 10), (0, change(0, 1), Changed, 20, 30)]),
            (
                "a refusal by what was there before",
                &[
                    (0, change(0, 1), Changed, 0, 10),
                    (0, change(1, 2), Changed, 20, 30),
                    (1, change(2, 3), found(1), 40, 50),
                ],
            ),
            (
                "an unknown change that happens twice",
                &[
                    (0, change(0, 1), Unknown, 0, 10),
                    (1, change(1, 0), Changed, 20, 30),
                    (1, READ, found(1), 40, 50),
                ],
            ),
        ];
        for (what, lines) in rejected {
            assert!(linearizable(&history(lines)).is_err(), "{what} is accepted");
        }
    }

    #[test]
    fn a_fork_is_named_with_both_changes() {
        let history = history(&[
            (0, change(0, 1), Changed, 0, 10),
            (0, change(1, 2), Changed, 20, 40),
            (1, change(1, 3), Changed, 20, 40),
            (2, change(1, 4), Unknown, 20, 40),
            (2, change(1, 5), found(2), 20, 40),
        ]);
        let found = forks(&history);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.client, found[0].1.client), (0, 1));
    }

    #[test]
    fn files_are_judged_each_alone() {
        let mut both = history(&[(0, change(0, 1), Changed, 0, 10), (1, READ, found(0), 20, 30)]);
        both[1].file = 1;
        assert_eq!(linearizable(&both), Ok(()));
    }
}
