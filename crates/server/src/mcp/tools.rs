//! The tool table. Each entry has a tool's public description and its implementation; `tools/list`
//! returns them in this order, and stays small because agents pay for it.

use std::sync::{Arc, LazyLock};

use futures::future::BoxFuture;
use panaversity_model::audit::Operation::{
    self, Apply, Archive, Create, Delete, Delta, Edit, List, Plan, Query, Read, Restore, Search, Upload,
    Validate, Verify, Write,
};
use panaversity_model::permission::{Permission, Principal};
use panaversity_service::Call;
use panaversity_service::authorize::permission_for;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::Value;

use crate::AppState;
use crate::mcp::arguments::{Arguments, Signature};
use crate::mcp::tool_output::ToolResult;
use crate::mcp::{
    archives, assets, audit, books, build, changes, content, history, schemas, search, validation,
};

type Run = for<'a> fn(&'a AppState, &'a mut Call, Arguments) -> BoxFuture<'a, ToolResult>;

/// Logger of a call's log line.
pub(crate) enum Group {
    Content,
    Assets,
    Books,
    Build,
    Audit,
}
use Group::{Assets, Audit, Books, Build, Content};

/// Definition of a tool.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    title: &'static str,
    pub(crate) operation: Operation,
    pub(crate) group: Group,
    pub(super) run: Run,
    input: fn() -> JsonObject,
    about: &'static str,
}

#[rustfmt::skip]
pub(super) static ALL: [Spec; 23] = [
    Spec { name: "read_content", title: "Read content", operation: Read, group: Content, input: schemas::read,
        run: |app, call, args| Box::pin(content::read(app, call, args)),
        about: "Read one file (path), or with scope all files of a chapter, part or book, in pages. Of a long page read outline first, then section or lines. Gives file_hash_sha256 of the whole file. With user_id that user's overlay wins; base_changed: its base is newer. Of a static/ path tells only whether it exists; of a file that is no text type and download_url." },
    Spec { name: "write_content", title: "Write content", operation: Write, group: Content, input: schemas::write,
        run: |app, call, args| Box::pin(content::write(app, call, args)),
        about: "Create or replace a text file below content/ (images: upload_asset). To replace, pass the file_hash_sha256 you read as expected_hash; to create, leave it out. HASH_REQUIRED or CONFLICT: read again, merge, repeat. Repeating is safe. The first write creates the book." },
    Spec { name: "edit_content", title: "Edit content", operation: Edit, group: Content, input: schemas::edit,
        run: |app, call, args| Box::pin(changes::edit(app, call, args)),
        about: "Replace exact places of a text file: each old_text must occur once, as earlier edits left the text. Cheaper than write_content, and needs no expected_hash. Gives the diff; dry_run only that." },
    Spec { name: "delete_content", title: "Delete content", operation: Delete, group: Content, input: schemas::delete,
        run: |app, call, args| Box::pin(content::delete(app, call, args)),
        about: "Delete a file; with expected_hash (file_hash_sha256 as read) only if it still has that hash. Already gone: existed false. With user_id only the overlay's file goes: the base shows again." },
    Spec { name: "apply_changes", title: "Apply changes", operation: Apply, group: Content, input: schemas::apply,
        run: |app, call, args| Box::pin(changes::apply(app, call, args)),
        about: "Change several files at once, all or none: op write (content), edit (edits), delete, move (to), each with path and expected_hash as in the single tools. At most 1000 changes, 8 MiB. dry_run only checks." },
    Spec { name: "list_history", title: "List history", operation: Read, group: Content, input: schemas::history,
        run: |app, call, args| Box::pin(history::list(app, call, args)),
        about: "Versions of a file, newest first, with agent and message; also of a deleted one. read_content with hash gives a version's text." },
    Spec { name: "blame_content", title: "Blame content", operation: Read, group: Content, input: schemas::blame,
        run: |app, call, args| Box::pin(history::blame(app, call, args)),
        about: "Who last wrote each run of lines, when and why. older: or an older version that is no longer kept." },
    Spec { name: "restore_content", title: "Restore content", operation: Restore, group: Content, input: schemas::restore,
        run: |app, call, args| Box::pin(changes::restore(app, call, args)),
        about: "Bring back a version: path with hash (list_history), or the book's base to manifest_hash (plan_build), then expected_hash is its current manifest_hash. dry_run shows what would change." },
    Spec { name: "upload_asset", title: "Upload asset", operation: Upload, group: Assets, input: schemas::upload_asset,
        run: |app, call, args| Box::pin(assets::upload(app, call, args)),
        about: "Put a file at static/{asset_type}/{filename}; type static or content: {asset_type}/{filename}, the latter beside pages. Small: binary_data. Large: file_size, then PUT the bytes to upload_url with headers, then complete_upload. Empty: file_size 0. To replace, pass file_hash_sha256 as expected_hash. Same bytes: skipped." },
    Spec { name: "complete_upload", title: "Complete upload", operation: Upload, group: Assets, input: schemas::complete_upload,
        run: |app, call, args| Box::pin(assets::complete(app, call, args)),
        about: "After the PUT: checks the bytes and puts the asset in its place. UPLOAD_INCOMPLETE: PUT again and repeat. Repeating gives the first answer." },
    Spec { name: "get_asset", title: "Get asset", operation: Read, group: Assets, input: schemas::get_asset,
        run: |app, call, args| Box::pin(assets::get(app, call, args)),
        about: "An asset's hash, size, type, uploader and cdn_url, or download_url, which expires. include_binary gives small ones in base64; GET others." },
    Spec { name: "list_assets", title: "List assets", operation: List, group: Assets, input: schemas::list_assets,
        run: |app, call, args| Box::pin(assets::list(app, call, args)),
        about: "A book's assets and files beside pages, all or of one type, as get_asset gives them." },
    Spec { name: "delete_asset", title: "Delete asset", operation: Delete, group: Assets, input: schemas::delete_asset,
        run: |app, call, args| Box::pin(assets::delete(app, call, args)),
        about: "Delete an asset; with expected_hash only if it still has that hash. Already gone: existed false." },
    Spec { name: "list_books", title: "List books", operation: List, group: Books, input: schemas::list_books,
        run: |app, call, args| Box::pin(books::list(app, call, args)),
        about: "List all books or one, with size, schema and manifest_hash; with include_structure also folders and file names, to find paths." },
    Spec { name: "create_book", title: "Create book", operation: Create, group: Books, input: schemas::create_book,
        run: |app, call, args| Box::pin(books::create(app, call, args)),
        about: "Create a book, or choose its schema while it has no files. strict: content/NN-Part/NN-Chapter/NN-lesson.md. docusaurus: any Docusaurus layout. Another schema once it has files: CONFLICT." },
    Spec { name: "glob_search", title: "Find paths", operation: Search, group: Books, input: schemas::glob,
        run: |app, call, args| Box::pin(search::glob(app, call, args)),
        about: "Find files by path: * and ? stay within a folder, ** does not. Give book_id, or all_books=true: then matches read {book_id}/{path}." },
    Spec { name: "grep_search", title: "Search text", operation: Search, group: Books, input: schemas::grep,
        run: |app, call, args| Box::pin(search::grep(app, call, args)),
        about: "Find lines by a regular expression (no look-around), in one book or all_books=true. path_glob as in glob_search. cut: a long line in part. truncated: there may be more. unreadable: files whose bytes are lost." },
    Spec { name: "plan_build", title: "Plan build", operation: Plan, group: Build, input: schemas::plan,
        run: |app, call, args| Box::pin(build::plan(app, call, args)),
        about: "What a build must fetch or remove to go from target_manifest_hash (left out: nothing) to the book's state now. Fetch files with read_content and hash=current_hash: that stays this state." },
    Spec { name: "delta_build", title: "Build delta", operation: Delta, group: Build, input: schemas::delta,
        run: |app, call, args| Box::pin(build::delta(app, call, args)),
        about: "What changed at or after since (RFC 3339), deletions included, as it is now. Next time pass next_since as since: nothing is missed, a file may be named twice." },
    Spec { name: "get_book_archive", title: "Get book archive", operation: Archive, group: Build, input: schemas::archive,
        run: |app, call, args| Box::pin(archives::archive(app, call, args)),
        about: "A link to the book's state as a ZIP: GET archive_url, Range to resume. It stays that state while others write. partial: files whose bytes are lost are in error_manifest." },
    Spec { name: "validate_book", title: "Validate book", operation: Validate, group: Build, input: schemas::validate,
        run: |app, call, args| Box::pin(validation::validate(app, call, args)),
        about: "Check the base before a build: paths, front matter, broken links and images, two pages with one route, lost or foreign files. Each error has path, message and suggestion: repair, then validate again. Warnings may be meant." },
    Spec { name: "query_audit_log", title: "Query audit log", operation: Query, group: Audit, input: schemas::query,
        run: |app, call, args| Box::pin(audit::query(app, call, args)),
        about: "Who did what and when, newest first; every filter must match. since and until: RFC 3339. Without user_id the base's entries, with it that user's. A short page may have next_cursor too." },
    Spec { name: "verify_audit_chain", title: "Verify audit chain", operation: Verify, group: Audit, input: schemas::verify,
        run: |app, call, args| Box::pin(audit::verify(app, call, args)),
        about: "Check that no audit entry was edited, removed, inserted or reordered: of all, a book, or a file; of the base, or of user_id." },
];

/// Output schema of every tool: an object.
static OUTPUT: LazyLock<Arc<JsonObject>> =
    LazyLock::new(|| Arc::new(JsonObject::from_iter([("type".to_owned(), "object".into())])));

/// Answer of `tools/list`, built once.
pub(super) static ADVERTISED: LazyLock<Vec<Tool>> =
    LazyLock::new(|| ALL.iter().map(Spec::advertised).collect());

/// The tools that a caller may call, in the table's order.
pub(super) fn offered(principal: &Principal) -> Vec<Tool> {
    let may_call = |tool: &Spec| principal.may(permission_for(tool.operation), None);
    let tools = ALL.iter().zip(ADVERTISED.iter());
    tools.filter(|(spec, _)| may_call(spec)).map(|(_, tool)| tool.clone()).collect()
}

/// The tool with that name.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    ALL.iter().find(|tool| tool.name == name)
}

impl Spec {
    /// Its arguments, from its schema.
    pub(super) fn signature(&self) -> Signature<'static> {
        let schema = ADVERTISED.iter().find(|tool| tool.name == self.name).map(|tool| &tool.input_schema);
        let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
        let required = schema.and_then(|schema| schema.get("required")?.as_array());
        Signature {
            advertised: properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect(),
            required: required.into_iter().flatten().filter_map(Value::as_str).collect(),
            earlier: if self.name == "query_audit_log" { &["from", "to"] } else { &[] },
        }
    }

    fn advertised(&self) -> Tool {
        let changes = permission_for(self.operation) == Permission::Write;
        let hints = ToolAnnotations::new().read_only(!changes).open_world(false);
        let hints = if changes {
            // Creating a book deletes nothing. Repeating a change has no further effect; only an edit may find
            // its place again.
            hints
                .destructive(!matches!(self.operation, Create))
                .idempotent(!matches!(self.operation, Edit | Apply))
        } else {
            hints
        };
        Tool::new(self.name, self.about, (self.input)())
            .with_title(self.title)
            .with_raw_output_schema(OUTPUT.clone())
            .with_annotations(hints)
    }
}
