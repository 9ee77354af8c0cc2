//! Choices made from random numbers that proptest generates and shrinks: towards zero, where each choice
//! is the first of its list.

use std::slice::Iter;

/// A source of choices; all are the first once its numbers are used up.
pub(super) struct Dice<'a>(Iter<'a, u16>);

impl<'a> Dice<'a> {
    pub(super) fn new(numbers: &'a [u16]) -> Self {
        Self(numbers.iter())
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// True in so many cases of a hundred.
    pub(super) fn often(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
