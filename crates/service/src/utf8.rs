//! Incremental UTF-8 validator: checks bytes that arrive part by part, and buffers no more than the
//! beginning of one character.

/// State of a validation.
#[derive(Default)]
pub(crate) struct Utf8Validator {
    /// The beginning of a character whose end is in the next part.
    cut: Vec<u8>,
    is_wrong: bool,
}

impl Utf8Validator {
    /// True if all parts so far are valid UTF-8 and no character is cut.
    pub(crate) fn is_valid(&self) -> bool {
        !self.is_wrong && self.cut.is_empty()
    }

    /// Validates the next part.
    pub(crate) fn check(&mut self, part: &[u8]) {
        // A character has at most four bytes, so at most three more complete the cut one.
        let mut rest = part;
        while !self.cut.is_empty() && !self.is_wrong {
            let Some((next, more)) = rest.split_first() else { return };
            self.cut.push(*next);
            rest = more;
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) => self.is_wrong = error.error_len().is_some(),
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() => self.cut = rest[error.valid_up_to()..].to_vec(),
            Err(_) => self.is_wrong = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..12),
            (any::<String>(), any::<u8>()).prop_map(|(text, odd)| [text.as_bytes(), &[odd]].concat()),
        ]
    }

    proptest! {
        #[test]
        fn parts_are_text_exactly_if_all_of_them_together_are(bytes in bytes(), length in 1usize..5) {
            let mut validator = Utf8Validator::default();
            bytes.chunks(length).for_each(|part| validator.check(part));
            prop_assert_eq!(validator.is_valid(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
