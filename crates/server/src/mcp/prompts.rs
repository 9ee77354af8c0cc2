//! The prompts: step-by-step instructions for agents to write without overwriting others' changes. They
//! name only tools of the tool table, and read no data.

use panaversity_model::suggestion::nearest_name;
use panaversity_model::{ErrorCode, Refusal};
use rmcp::ErrorData;
use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::json;

use crate::mcp::arguments::{Arguments, Signature, needed};

/// Longest task accepted.
const MAX_TASK_BYTES: usize = 4_000;

const EDIT: &str = "\
Edit `{path}` in the book `{book_id}`{task}.

1. Call read_content with book_id and path. Keep file_hash_sha256: it names the version you have read.
2. Work out the new text. Change what the task asks for and keep everything else byte for byte, front matter included.
3. Call write_content with book_id, path, the whole new text as content, and that hash as expected_hash.
   - mode `updated`: done. mode `unchanged`: the file holds exactly this already.
   - CONFLICT: somebody else has written meanwhile. Read again, work your change into what the file holds now, and write with its new hash. Never write your first text again.
   - HASH_REQUIRED: the file exists and expected_hash was missing. Read it, then write with its hash.
   - NOT_FOUND: the file is gone. Ask before you create it anew; to create a file, leave expected_hash out.
   - TIMEOUT, outcome `unknown` or no answer: repeat the same call; that is safe.
4. Say what you changed, and the file_hash of the answer.
";

const SUMMARISE: &str = "\
Write a summary of each lesson in the chapter of `{path}` in the book `{book_id}`.

1. Call read_content with book_id, path and scope=chapter; go on with cursor=next_cursor until there is none. Lessons are the files NN-name.md or .mdx; the summary of NN-name.md is NN-name.summary.md beside it. README.md and index.md need none.
2. Where a summary exists and still says what its lesson says, leave it alone.
3. Write the others with write_content: a few sentences on what the reader will know afterwards, and the main points as a list, nothing that the lesson does not say.
   - There is no summary yet: leave expected_hash out.
   - There is one: pass its file_hash_sha256 from step 1 as expected_hash.
   - HASH_REQUIRED or CONFLICT: somebody else has written it meanwhile. Read it again, keep what is good in it, and write with its new hash.
   - TIMEOUT, outcome `unknown` or no answer: repeat the same call; that is safe.
4. List the summaries you wrote and those you left alone.
";

/// Answer of `prompts/list`.
pub(super) fn all() -> Vec<Prompt> {
    let argument = |name: &str, about: &str, required| {
        PromptArgument::new(name).with_description(about).with_required(required)
    };
    let book = || argument("book_id", "The book", true);
    let edit = [
        book(),
        argument("path", "The lesson, such as content/01-Part/01-Chapter/01-lesson.md", true),
        argument("task", "What to change", false),
    ];
    let summarise = [book(), argument("path", "The chapter's folder, or any file in it", true)];
    vec![
        Prompt::new(
            "edit_lesson",
            Some("Change a lesson without overwriting anybody's work"),
            Some(edit.into()),
        )
        .with_title("Edit a lesson"),
        Prompt::new(
            "summarise_chapter",
            Some("Write the summaries of a chapter's lessons"),
            Some(summarise.into()),
        )
        .with_title("Summarise a chapter"),
    ]
}

/// A prompt with its arguments filled in.
pub(super) fn get(name: &str, arguments: JsonObject) -> Result<GetPromptResult, ErrorData> {
    let prompts = all();
    let Some(prompt) = prompts.iter().find(|prompt| prompt.name == name) else {
        return Err(unknown(name, &prompts));
    };
    let text = if prompt.name == "edit_lesson" { EDIT } else { SUMMARISE };
    let filled = filled(text, arguments, &signature(prompt));
    let text = filled.map_err(|refusal| {
        ErrorData::invalid_params(refusal.to_string(), Some(json!({ "code": refusal.code().as_str() })))
    })?;
    Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]))
}

fn unknown(name: &str, prompts: &[Prompt]) -> ErrorData {
    let names: Vec<_> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
    let near = nearest_name(name, names.iter().copied());
    let meant = near.map_or_else(
        || format!("; there are {}", names.join(", ")),
        |near| format!("; did you mean `{near}`?"),
    );
    let message = format!("There is no such prompt{meant}");
    let data = json!({ "code": ErrorCode::InvalidArgument.as_str(), "suggestion": near, "prompts": names });
    ErrorData::invalid_params(message, Some(data))
}

fn signature(prompt: &Prompt) -> Signature<'_> {
    let arguments = || prompt.arguments.iter().flatten();
    let required = arguments().filter(|argument| argument.required == Some(true));
    Signature {
        advertised: arguments().map(|argument| argument.name.as_str()).collect(),
        required: required.map(|argument| argument.name.as_str()).collect(),
        earlier: &[],
    }
}

fn filled(text: &str, arguments: JsonObject, signature: &Signature) -> Result<String, Refusal> {
    let mut arguments = Arguments::unwrapped(arguments, signature);
    arguments.refuse_unknown(signature)?;
    let book = needed("book_id", arguments.book()?)?;
    let path = needed("path", arguments.path()?)?;
    let task = arguments.text("task")?.unwrap_or_default();
    if task.len() > MAX_TASK_BYTES {
        return Err(Refusal::argument("task", format!("it has more than {MAX_TASK_BYTES} bytes")));
    }
    let task = if task.is_empty() { task } else { format!(": {}", task.trim_end_matches('.')) };
    // The task is replaced last: placeholders in it stay as they are.
    Ok(text.replace("{path}", path.as_str()).replace("{book_id}", book.as_str()).replace("{task}", &task))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tools;

    #[test]
    fn a_prompt_names_only_tools_there_are_and_codes_there_are() {
        let verbs = ["read_", "write_", "edit_", "delete_", "apply_", "list_", "create_", "restore_"];
        for text in [EDIT, SUMMARISE] {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| verbs.iter().any(|verb| word.starts_with(verb))) {
                assert!(tools::find(word).is_some(), "{word}");
            }
            for said in ["expected_hash", "CONFLICT", "HASH_REQUIRED", "read_content", "write_content"] {
                assert!(text.contains(said), "{said}");
            }
        }
    }

    #[test]
    fn arguments_are_filled_in_once_and_refused_by_name() {
        let prompts = all();
        let fill = |given: serde_json::Value| {
            filled(EDIT, given.as_object().unwrap().clone(), &signature(&prompts[0]))
        };
        let text =
            fill(json!({ "book_id": "ai-python", "path": "content/a.md", "task": "say {path} twice." }))
                .unwrap();
        assert!(
            text.starts_with("Edit `content/a.md` in the book `ai-python`: say {path} twice.\n"),
            "{text}"
        );
        for left_out in [json!({}), json!({ "task": null }), json!({ "task": "" })] {
            let mut given = json!({ "book_id": "ai-python", "path": "content/a.md" });
            given.as_object_mut().unwrap().extend(left_out.as_object().unwrap().clone());
            let text = fill(given).unwrap();
            assert!(text.starts_with("Edit `content/a.md` in the book `ai-python`.\n"), "{text}");
        }
        for bad in [
            json!({}),
            json!({ "book_id": "ai-python" }),
            json!({ "book_id": "X", "path": "a" }),
            json!({ "book_id": "ai-python", "path": "../x" }),
            json!({ "book_id": "ai-python", "path": "a", "pth": 1 }),
            json!({ "book_id": "ai-python", "path": "a", "task": "x".repeat(4_001) }),
        ] {
            assert!(fill(bad.clone()).is_err(), "{bad}");
        }
    }
}
