//! `book`: creates, lists and deletes books, on the store itself. It may run while servers run.

use clap::{Args, Subcommand};
use panaversity_client::progress::{ProgressObserver, Unit};
use panaversity_model::audit::Operation;
use panaversity_model::permission::Principal;
use panaversity_model::{AgentId, BookId, Error, Layer, Schema};
use panaversity_service::books::{BookSummary, Structure};
use panaversity_service::{Call, Service};
use serde_json::{Value, json};

use super::maintenance::gather;
use super::operator::operator;
use crate::config::flags::McpFlags;
use crate::config::parsed::StoreSettings;
use crate::failure::{Failure, print};
use crate::progress::TerminalProgress;
use crate::runtime::MaintenanceRuntime;

/// Arguments of `book`.
#[derive(Args)]
pub(crate) struct BookArgs {
    #[command(subcommand)]
    action: BookAction,
}

#[derive(Subcommand)]
enum BookAction {
    /// Create a book; repeating it is harmless
    #[command(after_help = "Example: panaversity-fs book create ai-python --schema docusaurus")]
    Create {
        /// The book
        #[arg(value_name = "ID", value_parser = BookId::parse)]
        id: BookId,
        /// Schema of its paths: strict or docusaurus [default: strict]
        #[arg(long, value_name = "SCHEMA", value_parser = Schema::parse)]
        schema: Option<Schema>,
        #[command(flatten)]
        by: ByArgs,
        #[command(flatten)]
        shared: StoreArgs,
    },
    /// List the books
    #[command(after_help = "Example: panaversity-fs book list --json")]
    List {
        #[command(flatten)]
        shared: StoreArgs,
    },
    /// Delete a book with all its files, overlays included
    #[command(after_help = "Example: panaversity-fs book delete ai-python --yes\n\n\
        Every file is deleted as an agent would delete it: the audit log keeps who did it, and the contents stay \
        until their retention ends and `gc` runs. Stopped halfway, it goes on when it is run again.")]
    Delete {
        /// The book
        #[arg(value_name = "ID", value_parser = BookId::parse)]
        id: BookId,
        /// Do it; without this it only says what would be deleted
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        by: ByArgs,
        #[command(flatten)]
        shared: StoreArgs,
    },
}

/// The agent of a command that changes something.
#[derive(Args)]
struct ByArgs {
    /// Who does it, as the audit log names them; your user name if left out
    #[arg(long, value_name = "NAME")]
    agent_id: Option<String>,
}

/// Output and settings of every action.
#[derive(Args)]
struct StoreArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: McpFlags,
}

/// Runs `book`.
pub(crate) async fn run(args: BookArgs) -> Result<(), Failure> {
    match args.action {
        BookAction::Create { id, schema, by, shared } => {
            let agent = operator(by.agent_id.as_deref())?;
            on_store(shared, async |service, as_json| create(service, &id, schema, agent, as_json).await)
                .await
        }
        BookAction::List { shared } => {
            on_store(shared, async |service, as_json| list(service, as_json).await).await
        }
        BookAction::Delete { id, yes, by, shared } => {
            let agent = operator(by.agent_id.as_deref())?;
            on_store(shared, async |service, as_json| delete(service, &id, yes, agent, as_json).await).await
        }
    }
}

async fn on_store(
    shared: StoreArgs,
    act: impl AsyncFnOnce(&Service, bool) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let sources = gather(shared.flags.into_given())?;
    let beside = MaintenanceRuntime::open(StoreSettings::read(&sources)?).await?;
    let text = act(&beside.service, shared.json).await;
    beside.close().await;
    print(&text?)
}

async fn create(
    service: &Service,
    id: &BookId,
    schema: Option<Schema>,
    agent: AgentId,
    as_json: bool,
) -> Result<String, Failure> {
    let caller = service.caller(Principal::unrestricted(agent));
    let ended = service.run(caller, Operation::Create, async |call: &mut Call| {
        let access = call.may_write(id.clone(), Layer::Base)?;
        call.create_book(&access, schema).await
    });
    let (book, is_new) = ended.await.result.map_err(|error| failed(&error))?;
    let status = if is_new { "created" } else { "exists" };
    Ok(if as_json {
        json!({ "status": status, "book_id": book.id.as_str(), "schema": book.schema.as_str() }).to_string()
    } else {
        format!("{status}: {} ({})", book.id, book.schema.as_str())
    })
}

async fn list(service: &Service, as_json: bool) -> Result<String, Failure> {
    let books = all_books(service).await.map_err(|error| failed(&error))?;
    if as_json {
        return Ok(json!({ "books": books.iter().map(shown).collect::<Vec<_>>() }).to_string());
    }
    if books.is_empty() {
        return Ok(
            "there are no books; the first write creates one, or `panaversity-fs book create ID`".to_owned()
        );
    }
    let width = books.iter().map(|summary| summary.book.id.as_str().len()).max().unwrap_or(0);
    let line = |summary: &BookSummary| {
        let (id, schema) = (summary.book.id.as_str(), summary.book.schema.as_str());
        format!(
            "{id:<width$}  {schema:<10}  {:>6} files  {:>12} bytes  {}",
            summary.files, summary.bytes, summary.updated_at
        )
    };
    Ok(books.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// All books. The operator's look at them is no call of an agent, and gets no audit entry.
async fn all_books(service: &Service) -> Result<Vec<BookSummary>, Error> {
    let (mut books, mut after) = (Vec::new(), None);
    loop {
        let caller = service.caller(Principal::unrestricted(AgentId::unnamed()));
        let ended = service.run_unrecorded(caller, Operation::List, async |call: &mut Call| {
            let access = call.may_search(None, Layer::Base)?;
            call.list_books(&access, Structure::Nothing, after).await
        });
        let page = ended.await.result?;
        books.extend(page.books);
        after = page.next;
        if after.is_none() {
            return Ok(books);
        }
    }
}

fn shown(summary: &BookSummary) -> Value {
    json!({
        "book_id": summary.book.id.as_str(),
        "schema": summary.book.schema.as_str(),
        "files": summary.files,
        "bytes": summary.bytes,
        "updated_at": summary.updated_at.to_string(),
    })
}

async fn delete(
    service: &Service,
    id: &BookId,
    yes: bool,
    agent: AgentId,
    as_json: bool,
) -> Result<String, Failure> {
    let files = service.files_of_all_layers(id).await.map_err(|error| failed(&error))?;
    if !yes {
        return Err(Failure::Failed(format!(
            "this would delete the book {id} and its {files} files, overlays included; nothing was done. Repeat it \
             with --yes"
        )));
    }
    let progress = TerminalProgress.begin("deleting".to_owned(), files, Unit::Files);
    let deleted = service.delete_book(&agent, id, |done| progress.done(done)).await;
    drop(progress);
    let deleted = deleted.map_err(|error| failed(&error))?;
    Ok(if as_json {
        json!({ "status": "deleted", "book_id": id.as_str(), "files": deleted }).to_string()
    } else {
        format!("deleted: {id}, {deleted} files; `gc` frees their space when the retention has ended")
    })
}

fn failed(error: &Error) -> Failure {
    Failure::Failed(match error {
        Error::Refused(refusal) => refusal.to_string(),
        Error::Broken(fault) => format!("the book can't be changed: {fault} (run it again)"),
    })
}
