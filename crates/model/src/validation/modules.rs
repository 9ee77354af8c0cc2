//! Modules that a page of MDX needs: `import ... from './x'` at the beginning of a line, and
//! `require('./x')` in an expression. Only relative ones and those below `@site/` can be the book's.

use crate::markdown::Ranges;

/// Longest import statement that is read, in bytes.
const MAX_STATEMENT: usize = 1_000;

/// Calls `found` with the offset and the module of each import.
pub(super) fn each_target<'a>(
    text: &'a str,
    code: &Ranges,
    expressions: &Ranges,
    mut found: impl FnMut(usize, &'a str),
) {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    for at in starts {
        if text[at..].starts_with("import ") && code.around(at).is_none() {
            let end = text.floor_char_boundary(at + MAX_STATEMENT);
            let statement = &text[at..end];
            let statement = statement.split_once("\n\n").map_or(statement, |(statement, _)| statement);
            if let Some(module) = quoted(statement) {
                found(at, module);
            }
        }
    }
    for range in expressions.iter() {
        for (at, call) in text[range.clone()].match_indices("require(") {
            let rest = &text[range.start + at + call.len()..range.end];
            if let Some(module) = quoted(rest).filter(|_| rest.starts_with(['"', '\''])) {
                found(range.start + at, module);
            }
        }
    }
}

/// The first string in quotes, if it can be a file of the book.
fn quoted(text: &str) -> Option<&str> {
    let start = text.find(['"', '\''])?;
    let quote = char::from(text.as_bytes()[start]);
    let rest = &text[start + 1..];
    let line = rest.split_once('\n').map_or(rest, |(line, _)| line);
    let (module, _) = line.split_once(quote)?;
    // Loaders stand before the file, separated by `!`, and a query behind it.
    let file = module.rsplit_once('!').map_or(module, |(_, file)| file);
    let file = file.split_once('?').map_or(file, |(file, _)| file);
    ["./", "../", "@site/"].iter().any(|start| file.starts_with(start)).then_some(file)
}
