//! `.env` files. Laws: only names of this program are set; a value in single quotes is read as it stands; no
//! message repeats anything of a line but names.

#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use panaversity_fs::fuzzing::parse_dotenv;

/// Stands for a secret: it can't be part of a name.
const SECRET: &str = "\u{27ea}secret\u{27eb}";

fuzz_target!(|data: &[u8]| {
    // Every `@` becomes a secret, so that secrets get into every part of a line.
    let mut file = Vec::with_capacity(data.len());
    for byte in data {
        match byte {
            b'@' => file.extend_from_slice(SECRET.as_bytes()),
            other => file.push(*other),
        }
    }
    match parse_dotenv(&file) {
        Err(message) => check_message(&message),
        Ok((values, warnings)) => {
            warnings.iter().for_each(|warning| check_message(warning));
            let mut again = String::new();
            let mut quotable = values.clone();
            // A carriage return before a line's end belongs to the end.
            quotable.retain(|_, value| {
                !value.contains('\'') && !value.contains("\r\n") && !value.ends_with('\r')
            });
            for (name, value) in &quotable {
                assert!(name.starts_with("PANAVERSITY_"), "{name}");
                let _ = writeln!(again, "export {name} = '{value}' # as it stands");
            }
            match parse_dotenv(again.as_bytes()) {
                Ok((read, _)) => assert_eq!(read, quotable),
                // A value whose own line looks like a setting may not stand in another's quotes.
                Err(message) => assert!(again.matches("PANAVERSITY_").count() > quotable.len(), "{message}"),
            }
        }
    }
});

fn check_message(message: &str) {
    assert!(message.starts_with(".env"), "{message}");
    assert!(message.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{message}");
    assert!(!message.contains(SECRET), "{message}");
}
