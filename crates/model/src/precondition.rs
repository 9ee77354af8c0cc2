//! Preconditions of writes (optimistic concurrency): the only place that decides whether a change is
//! permitted.
//!
//! The same function is called twice: once without locks, to refuse early, and once under the chain
//! lock inside the transaction, whose result alone counts. Keeps I8 and R3.

use crate::hash::ContentHash;
use crate::refusal::Refusal;

/// Content of a file after a change: absent, or present and given as `T` (hash, blob or bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetContent<T = ContentHash> {
    /// The file exists with this content.
    Present(T),
    /// The file is deleted.
    Absent,
}

impl<T> TargetContent<T> {
    /// The content; `None`: the file is deleted.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(content) => Some(content),
            Self::Absent => None,
        }
    }
}

/// Effect of a permitted change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The file is created.
    Created,
    /// The file gets other bytes.
    Updated,
    /// The file is deleted.
    Deleted,
    /// The file already is as targeted (same bytes, or already absent).
    Unchanged,
}

impl Effect {
    /// Name as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        }
    }

    /// Parses the stored name.
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted, Self::Unchanged]
            .into_iter()
            .find(|effect| effect.as_str() == text)
    }
}

/// Decides by the current content of the file (`None`: no file) and the content that the caller
/// expects (`None`: no precondition).
///
/// | now | target | expected | answer |
/// |---|---|---|---|
/// | file | the same bytes | any | unchanged: repeating a call after a lost response is safe |
/// | file | other bytes | equal | updated |
/// | file | other bytes | differs | `CONFLICT` |
/// | file | other bytes | nothing | `HASH_REQUIRED` |
/// | none | present | nothing | created |
/// | none | present | given | `NOT_FOUND` |
/// | file | absent | differs | `CONFLICT` |
/// | file | absent | else | deleted |
/// | none | absent | any | unchanged |
pub fn decide(
    now: Option<ContentHash>,
    target: TargetContent,
    expected: Option<ContentHash>,
) -> Result<Effect, Refusal> {
    match (now, target) {
        (Some(now), TargetContent::Present(new)) if now == new => Ok(Effect::Unchanged),
        (Some(now), _) if expected.is_some_and(|expected| expected != now) => Err(Refusal::changed(now)),
        (Some(now), TargetContent::Present(_)) if expected.is_none() => {
            Err(Refusal::HashRequired { current: now })
        }
        (Some(_), TargetContent::Present(_)) => Ok(Effect::Updated),
        (Some(_), TargetContent::Absent) => Ok(Effect::Deleted),
        (None, TargetContent::Present(_)) if expected.is_some() => {
            Err(Refusal::not_found("There is no such file to replace: expected_hash was given"))
        }
        (None, TargetContent::Present(_)) => Ok(Effect::Created),
        (None, TargetContent::Absent) => Ok(Effect::Unchanged),
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

    fn any_target() -> impl Strategy<Value = TargetContent> {
        prop_oneof![any_hash().prop_map(TargetContent::Present), Just(TargetContent::Absent)]
    }

    #[test]
    fn the_agent_contract_holds_row_by_row() {
        let (a, b, c) = (hash(1), hash(2), hash(3));
        assert_eq!(decide(Some(a), TargetContent::Present(b), Some(a)), Ok(Effect::Updated));
        assert!(
            matches!(decide(Some(a), TargetContent::Present(b), Some(c)), Err(Refusal::Conflict { current: Some(h), .. }) if h == a)
        );
        assert_eq!(
            decide(Some(a), TargetContent::Present(b), None),
            Err(Refusal::HashRequired { current: a })
        );
        assert_eq!(decide(Some(a), TargetContent::Present(a), Some(c)), Ok(Effect::Unchanged));
        assert_eq!(decide(None, TargetContent::Present(a), None), Ok(Effect::Created));
        assert!(matches!(decide(None, TargetContent::Present(a), Some(a)), Err(Refusal::NotFound { .. })));
        assert!(matches!(decide(Some(a), TargetContent::Absent, Some(b)), Err(Refusal::Conflict { .. })));
        assert_eq!(decide(Some(a), TargetContent::Absent, None), Ok(Effect::Deleted));
        assert_eq!(decide(None, TargetContent::Absent, Some(a)), Ok(Effect::Unchanged));
    }

    proptest! {
        #[test]
        fn i8_of_two_different_writers_with_one_precondition_the_second_is_refused(
            now in prop::option::of(any_hash()), expected in prop::option::of(any_hash()), a in any_hash(), b in any_hash(),
        ) {
            prop_assume!(a != b);
            if let Ok(Effect::Created | Effect::Updated) = decide(now, TargetContent::Present(a), expected) {
                // The expected hash cannot be the new one: the file had other content.
                prop_assume!(expected != Some(a));
                prop_assert!(decide(Some(a), TargetContent::Present(b), expected).is_err());
            }
        }

        #[test]
        fn r3_repeating_a_permitted_change_changes_nothing(
            now in prop::option::of(any_hash()), target in any_target(), expected in prop::option::of(any_hash()),
        ) {
            if decide(now, target, expected).is_ok() {
                let then = match target { TargetContent::Present(new) => Some(new), TargetContent::Absent => None };
                prop_assert_eq!(decide(then, target, expected), Ok(Effect::Unchanged));
            }
        }
    }
}
