//! `watch`: follows the changes of a book through a running server, and runs a command for each change set.

use std::io::{ErrorKind, Write};
use std::process::{ExitStatus, Stdio};

use panaversity_client::watch::{WatchEvent, WatchOptions, WatchedChange};
use panaversity_client::{CallError, SyncError};
use panaversity_model::{BookId, UserId};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::server_args::ServerArgs;
use crate::failure::{Failure, print};

const AGENT: &str = "panaversity-fs-watch";

/// Follow the changes of a book, as they are committed
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  panaversity-fs watch --book-id ai-python\n  panaversity-fs watch --book-id ai-python --since start --exec './rebuild.sh'"
)]
pub(crate) struct WatchArgs {
    /// The book
    #[arg(long, value_name = "ID", value_parser = BookId::parse)]
    book_id: BookId,
    /// A user whose overlay to follow as well
    #[arg(long, value_name = "ID", value_parser = UserId::parse)]
    user_id: Option<UserId>,
    /// Where to begin: the cursor of a change, after which it goes on; `start`; or `now`
    #[arg(long, value_name = "CURSOR", default_value = "now")]
    since: String,
    /// A command of the shell to run for each change set, one after the other: it gets the set as JSON on its
    /// stdin, and `PANAVERSITY_BOOK_ID`, `PANAVERSITY_CHANGE_ID` and `PANAVERSITY_CURSOR`; if it fails, watch
    /// ends
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print each change set as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs `watch`, until it fails.
pub(crate) async fn run(args: WatchArgs) -> Result<(), Failure> {
    let client = args.server.client(AGENT).map_err(|SyncError { message, is_usage, .. }| {
        if is_usage { Failure::Usage(message) } else { Failure::Failed(message) }
    })?;
    let options = WatchOptions {
        book_id: args.book_id.clone(),
        user_id: args.user_id.clone(),
        since: args.since.clone(),
    };
    let mut watch = client.watch(options);
    let mut done = args.since.clone();
    loop {
        let event = watch.next().await.map_err(|error| failed(&error, watch.cursor()))?;
        if done == args.since {
            watch.cursor().clone_into(&mut done);
        }
        match event {
            WatchEvent::Interrupted(why) => {
                // A write error is ignored: there is no other place to report it.
                let _ = writeln!(std::io::stderr(), "panaversity-fs: {why}; trying again");
            }
            WatchEvent::Change(change) => {
                if args.json {
                    print(&change.body.to_string())?;
                } else if args.exec.is_none() {
                    print(&as_line(&change.body))?;
                }
                if let Some(command) = &args.exec {
                    execute(command, &args.book_id, &change, &done).await?;
                }
                done = change.cursor;
            }
        }
    }
}

fn failed(error: &CallError, cursor: &str) -> Failure {
    Failure::Failed(format!("{error}; go on with --since {cursor}"))
}

/// Runs the command for a change set. `before` is the cursor from which a watch gets this set again.
async fn execute(command: &str, book: &BookId, change: &WatchedChange, before: &str) -> Result<(), Failure> {
    let failed = |why: String| {
        let id = &change.change_id;
        Failure::Failed(format!("the command for change set {id} {why}; to run it again: --since {before}"))
    };
    let run = async {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .env("PANAVERSITY_BOOK_ID", book.as_str())
            .env("PANAVERSITY_CHANGE_ID", &change.change_id)
            .env("PANAVERSITY_CURSOR", &change.cursor)
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let text = format!("{}\n", change.body);
            match stdin.write_all(text.as_bytes()).await {
                // A command need not read it.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait().await
    };
    let ended: ExitStatus = run.await.map_err(|error| failed(format!("could not be run: {error}")))?;
    if ended.success() { Ok(()) } else { Err(failed(format!("failed ({ended})"))) }
}

/// A change set for people: when, who, what and why.
fn as_line(change: &Value) -> String {
    let text = |name: &str| change[name].as_str().unwrap_or_default();
    let files = change["files"].as_array().map_or(&[][..], Vec::as_slice);
    let first = files.first().and_then(|file| file["path"].as_str()).unwrap_or_default();
    let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
    let operations = change["operations"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let operations = operations.collect::<Vec<_>>().join(",");
    let user = change["user_id"].as_str().map(|user| format!(" ({user})")).unwrap_or_default();
    let message = change["message"].as_str().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{} {}{user} {operations} {first}{more}{message}", text("at"), text("agent_id"))
}
