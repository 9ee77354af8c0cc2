//! Hints of refusals: the next step, with the tool to call.

use panaversity_model::audit::Operation;
use panaversity_model::conflict::ConflictDetails;
use panaversity_model::{BookPath, Layer, Refusal};
use panaversity_service::Call;

use super::Remedy;

/// Hints of `read_content` for a part that the file does not have.
const NO_SUCH_SECTION: &str = "Repeat read_content with one of the suggestions as section, or with outline=true in its place to see all sections";
const SEVERAL_SECTIONS: &str = "Repeat read_content with one of the suggestions as section; outline=true in its place shows the lines of each, which lines reads";
const BEYOND_THE_END: &str = "Repeat read_content with lines up to total_lines; without the last one, such as 120-, it reads to the end";

fn argument_hint(argument: &str, remedy: Remedy) -> &'static str {
    match (argument, remedy) {
        ("user_id", Remedy::LeaveOut) => {
            "Leave user_id out to work on the book that everybody reads, or give the user's id, and repeat the call"
        }
        (_, Remedy::Correct) => "Correct this argument and repeat the call",
        (_, Remedy::LeaveOut) => "Correct it, or leave it out, and repeat the call",
        (_, Remedy::Give) => "Give this argument and repeat the call",
        (_, Remedy::Rename) => "Leave it out, or give it the name that the tool knows, and repeat the call",
    }
}

/// The next step, with the tool to call.
pub(super) fn hint(refusal: &Refusal, call: &Call, remedy: impl Fn(&str) -> Remedy) -> &'static str {
    match refusal {
        Refusal::InvalidArgument { argument, .. } => argument_hint(argument, remedy(argument)),
        Refusal::NotText { .. } => {
            "Call upload_asset: with asset_type=content and, as filename, the path without content/ to put the file beside pages (docusaurus books), or with asset_type=img, images, slides, videos or audio to put it below static/"
        }
        Refusal::SectionNotFound { .. } => NO_SUCH_SECTION,
        Refusal::SectionAmbiguous { .. } => SEVERAL_SECTIONS,
        Refusal::LinesBeyondEnd { .. } => BEYOND_THE_END,
        Refusal::NoLinks => {
            "Set PANAVERSITY_PUBLIC_URL to the address of a running `panaversity-fs serve` on the same database and storage; small files go inside the call: upload_asset with binary_data, get_asset with include_binary"
        }
        Refusal::Forbidden { scope: Some(_) } => {
            "Use a token or key with this scope, or ask the operator for one; other calls are not affected"
        }
        Refusal::Forbidden { scope: None } => {
            "Pass your own user_id; only overlay:any and admin reach the overlays of others, and a caller tied to a user changes no base"
        }
        Refusal::SchemaViolation { .. }
            if call.operation == Operation::Write && call.path.as_ref().is_some_and(BookPath::is_asset) =>
        {
            "Call upload_asset: asset_type is the folder below static/ (static itself for others), filename the rest of the path"
        }
        Refusal::InvalidPath { .. } => {
            "Use a path inside the book, such as content/01-Part/01-Chapter/01-lesson.md; list_books with include_structure=all shows the paths there are"
        }
        Refusal::SchemaViolation { suggestion: Some(_), .. } => {
            "Repeat the call with the suggested path, or with another that fits"
        }
        Refusal::SchemaViolation { suggestion: None, .. } => {
            "Choose a path that fits; list_books shows the book's schema and, with include_structure=all, its paths"
        }
        Refusal::NotFound { suggestions, .. } => not_found(!suggestions.is_empty(), call),
        Refusal::BookNotFound(_) => {
            "list_books shows the books there are; create_book, or the first write_content, makes a new one"
        }
        Refusal::EditNotUnique { count: 0, .. } => {
            "Compare with nearest, or read_content with section or lines, and repeat edit_content with old_text exactly as it stands in the file"
        }
        Refusal::EditNotUnique { .. } => {
            "Repeat edit_content with a longer old_text that includes text before or after the place you mean"
        }
        Refusal::ChangesRefused(_) => {
            "Correct the changes whose would_pass is false, each as its own hint says, and repeat the whole call"
        }
        Refusal::BytesMissing(_) => {
            "list_history shows other versions; write the file again with write_content if you know what it held, else tell the operator the path"
        }
        Refusal::TooManyFiles { .. } => {
            "Restore fewer files: call restore_content with path and hash for each"
        }
        Refusal::Conflict { current: Some(_), details, .. } => content_conflict(details.as_deref(), call),
        Refusal::Conflict { current: None, .. } => match call.operation {
            Operation::Create => {
                "list_books shows the book's schema: keep it, or choose another book_id for the other schema"
            }
            _ => {
                "list_books with include_structure=all shows the paths there are: choose another path, or remove what is in the way with delete_content"
            }
        },
        Refusal::HashRequired { .. } if call.operation == Operation::Upload => {
            "If yours should replace it, call upload_asset again with expected_hash set to current_hash"
        }
        Refusal::ManifestRequired { .. } => {
            "Look at what would be lost with dry_run=true, then repeat with expected_hash set to current_hash"
        }
        Refusal::HashRequired { .. } => {
            "Read the file with read_content, then repeat with expected_hash set to its file_hash_sha256"
        }
        Refusal::UploadIncomplete { .. } => {
            "PUT exactly the announced bytes to upload_url, then call complete_upload again; upload_asset gives a new URL if it has expired"
        }
        Refusal::TooLarge { what, .. } => too_large(what, call),
    }
}

/// A conflict about the content of a file, or about the manifest of a book.
fn content_conflict(details: Option<&ConflictDetails>, call: &Call) -> &'static str {
    if details.is_some_and(|details| !details.regions.is_empty()) {
        return "Join both sides of each region in your text, then repeat with expected_hash set to current_hash";
    }
    let has_diff = details.is_some_and(|details| details.diff.is_some());
    match call.operation {
        Operation::Restore if call.path.is_none() => {
            "Look at what changed with plan_build and target_manifest_hash set to your expected_hash; then repeat with expected_hash set to current_hash"
        }
        Operation::Write if has_diff => {
            "diff shows what was changed since your version: work it in and repeat with expected_hash set to current_hash, or repeat with on_conflict=merge"
        }
        _ if has_diff => {
            "diff shows what was changed since your version: if yours still holds, repeat with expected_hash set to current_hash"
        }
        Operation::Edit => {
            "Repeat edit_content without expected_hash if the edit still holds, or look at the file with read_content first"
        }
        Operation::Delete => {
            "Read the file again with read_content; if it should still go, repeat with expected_hash set to its file_hash_sha256"
        }
        Operation::Upload => {
            "get_asset shows what it holds now; if yours should replace that, call upload_asset again with expected_hash set to current_hash"
        }
        _ => {
            "Read the file again with read_content, work your change into what it holds now, and repeat with expected_hash set to its file_hash_sha256"
        }
    }
}

fn not_found(has_suggestions: bool, call: &Call) -> &'static str {
    match call.operation {
        Operation::Write if matches!(call.layer, Layer::Overlay(_)) => {
            "This user's overlay has no such file yet: repeat write_content without expected_hash to create it"
        }
        Operation::Write => {
            "Repeat write_content without expected_hash to create the file, or read_content to see what there is"
        }
        Operation::Upload => {
            "Call upload_asset again, without expected_hash if the asset is not there: it gives a new upload_id and upload_url"
        }
        Operation::Archive => "Call get_book_archive without manifest_hash: it gives the book's state now",
        Operation::Restore => {
            "list_history shows the kept versions of a file; plan_build gives the manifest_hash of the book's state now, which stays kept"
        }
        _ if has_suggestions => {
            "Try one of the suggestions, or call list_books with include_structure=all to see all paths"
        }
        _ => {
            "list_books with include_structure=all shows the book's paths; read_content without hash gives the current version"
        }
    }
}

fn too_large(what: &str, call: &Call) -> &'static str {
    match call.operation {
        _ if what == "binary_data" => {
            "Call upload_asset with file_size instead of binary_data, PUT the bytes to the upload_url it gives, then call complete_upload"
        }
        Operation::Upload => {
            "Make the asset smaller, or ask the operator to raise PANAVERSITY_MAX_ASSET_SIZE_MB"
        }
        Operation::Read => {
            "Call get_asset without include_binary and GET the bytes from its cdn_url or download_url"
        }
        Operation::Apply => "Split the set into several calls of apply_changes, each below the limit",
        Operation::Restore => "Restore fewer files: call restore_content with path and hash for each",
        _ => {
            "Split it into several files below the limit and write each with write_content, or put it as a whole with upload_asset and asset_type=content"
        }
    }
}
