//! The agent contract for writing: the one place that decides whether a change may happen.
//!
//! The same function is asked twice: once unlocked, to refuse cheaply, and once under the chain
//! lock inside the transaction, which alone decides. Keeps I8 and R3.

use crate::hash::ContentHash;
use crate::refusal::Refusal;

/// What a change wants of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it holds these bytes.
    Hold(ContentHash),
    /// That it is gone.
    Gone,
}

/// What a permitted change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The file comes into being.
    Created,
    /// The file gets other bytes.
    Updated,
    /// The file goes away.
    Deleted,
    /// The file is already as wished (same bytes, or already gone).
    Unchanged,
}

impl Effect {
    /// The name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        }
    }

    /// Reads the stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted, Self::Unchanged]
            .into_iter()
            .find(|effect| effect.as_str() == text)
    }
}

/// Decides by what the file holds now (`None`: no file) and what the caller expects it to hold
/// (`None`: nothing said).
///
/// | now | wish | expected | answer |
/// |---|---|---|---|
/// | file | hold the same bytes | any | unchanged: repeating a call after a lost answer is safe |
/// | file | hold others | equal | updated |
/// | file | hold others | differs | `CONFLICT` |
/// | file | hold others | nothing | `HASH_REQUIRED` |
/// | none | hold | nothing | created |
/// | none | hold | given | `NOT_FOUND` |
/// | file | gone | differs | `CONFLICT` |
/// | file | gone | else | deleted |
/// | none | gone | any | unchanged |
pub fn decide(
    now: Option<ContentHash>,
    wish: Wish,
    expected: Option<ContentHash>,
) -> Result<Effect, Refusal> {
    match (now, wish) {
        (Some(now), Wish::Hold(new)) if now == new => Ok(Effect::Unchanged),
        (Some(now), _) if expected.is_some_and(|expected| expected != now) => Err(Refusal::Conflict {
            why: "The file has changed since the version you named in expected_hash".to_owned(),
            current: Some(now),
        }),
        (Some(now), Wish::Hold(_)) if expected.is_none() => Err(Refusal::HashRequired { current: now }),
        (Some(_), Wish::Hold(_)) => Ok(Effect::Updated),
        (Some(_), Wish::Gone) => Ok(Effect::Deleted),
        (None, Wish::Hold(_)) if expected.is_some() => {
            Err(Refusal::not_found("There is no such file to replace: expected_hash was given"))
        }
        (None, Wish::Hold(_)) => Ok(Effect::Created),
        (None, Wish::Gone) => Ok(Effect::Unchanged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(n: u8) -> ContentHash {
        ContentHash::of(&[n])
    }

    fn any_hash() -> impl Strategy<Value = ContentHash> {
        (0u8..4).prop_map(hash)
    }

    fn any_wish() -> impl Strategy<Value = Wish> {
        prop_oneof![any_hash().prop_map(Wish::Hold), Just(Wish::Gone)]
    }

    #[test]
    fn the_agent_contract_holds_row_by_row() {
        let (a, b, c) = (hash(1), hash(2), hash(3));
        assert_eq!(decide(Some(a), Wish::Hold(b), Some(a)), Ok(Effect::Updated));
        assert!(
            matches!(decide(Some(a), Wish::Hold(b), Some(c)), Err(Refusal::Conflict { current: Some(h), .. }) if h == a)
        );
        assert_eq!(decide(Some(a), Wish::Hold(b), None), Err(Refusal::HashRequired { current: a }));
        assert_eq!(decide(Some(a), Wish::Hold(a), Some(c)), Ok(Effect::Unchanged));
        assert_eq!(decide(None, Wish::Hold(a), None), Ok(Effect::Created));
        assert!(matches!(decide(None, Wish::Hold(a), Some(a)), Err(Refusal::NotFound { .. })));
        assert!(matches!(decide(Some(a), Wish::Gone, Some(b)), Err(Refusal::Conflict { .. })));
        assert_eq!(decide(Some(a), Wish::Gone, None), Ok(Effect::Deleted));
        assert_eq!(decide(None, Wish::Gone, Some(a)), Ok(Effect::Unchanged));
    }

    proptest! {
        #[test]
        fn i8_of_two_different_writers_with_one_precondition_the_second_is_refused(
            now in prop::option::of(any_hash()), expected in prop::option::of(any_hash()), a in any_hash(), b in any_hash(),
        ) {
            prop_assume!(a != b);
            if let Ok(Effect::Created | Effect::Updated) = decide(now, Wish::Hold(a), expected) {
                // The expected hash cannot be the new one: the file held something else.
                prop_assume!(expected != Some(a));
                prop_assert!(decide(Some(a), Wish::Hold(b), expected).is_err());
            }
        }

        #[test]
        fn r3_repeating_a_permitted_change_changes_nothing(
            now in prop::option::of(any_hash()), wish in any_wish(), expected in prop::option::of(any_hash()),
        ) {
            if decide(now, wish, expected).is_ok() {
                let then = match wish { Wish::Hold(new) => Some(new), Wish::Gone => None };
                prop_assert_eq!(decide(then, wish, expected), Ok(Effect::Unchanged));
            }
        }
    }
}
