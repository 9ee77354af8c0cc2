//! `audit query`: entries newest first, streamed.

use std::io::{BufWriter, ErrorKind, Write, stdout};

use clap::Args;
use clap::builder::PossibleValuesParser;
use panaversity_model::audit::{AuditEntry, EntryFilter, Operation};
use panaversity_model::{BookId, Layer, Refusal, Timestamp, UserId};
use panaversity_server::Glob;

use super::{Interrupted, book_id, open, printable};
use crate::commands::maintenance::{DatabaseArgs, moment};
use crate::failure::Failure;

/// Arguments of `audit query`.
#[derive(Args)]
pub(super) struct QueryArgs {
    /// Only entries of this book
    #[arg(long, value_name = "ID", value_parser = book_id)]
    book_id: Option<BookId>,
    /// Only entries of paths that match this glob, such as `content/**`
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    path: Option<Glob>,
    /// Only entries of this agent
    #[arg(long, value_name = "NAME")]
    agent_id: Option<String>,
    /// Only entries of this operation
    #[arg(long, ignore_case = true, value_name = "OPERATION",
          value_parser = PossibleValuesParser::new(Operation::ALL.map(Operation::as_str)))]
    operation: Option<String>,
    /// Only entries with this status
    #[arg(long, value_name = "STATUS", value_parser = ["success", "refused", "failed"])]
    status: Option<String>,
    /// Only entries of this user's overlay; left out: all layers
    #[arg(long, value_name = "USER", value_parser = user_id)]
    user_id: Option<UserId>,
    /// Only entries since then: a time in RFC 3339, or a date (midnight in UTC)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only entries until then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// At most this many entries
    #[arg(long, value_name = "N", default_value = "100")]
    limit: usize,
    #[command(flatten)]
    shared: DatabaseArgs,
}

fn glob(text: &str) -> Result<Glob, Refusal> {
    Glob::parse("path", text)
}

pub(super) fn user_id(text: &str) -> Result<UserId, Refusal> {
    UserId::parse(text)
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    moment(text).ok_or("allowed are a date such as 2026-11-30, or a time such as 2026-11-30T12:00:00Z")
}

/// Runs `audit query`.
pub(super) async fn run(args: QueryArgs) -> Result<(), Failure> {
    let mut filter = EntryFilter {
        book: args.book_id,
        agent: args.agent_id,
        operation: args.operation.map(|operation| operation.to_uppercase()),
        status: args.status,
        layer: args.user_id.map(Layer::Overlay),
        from: args.since,
        to: args.until,
        ..EntryFilter::default()
    };
    if let Some(glob) = &args.path {
        filter = filter.below(&glob.prefix);
    }
    let keep = |entry: &AuditEntry| args.path.as_ref().is_none_or(|glob| glob.accepts_text(&entry.path));
    let (reader, database) = open(args.shared.flags).await?;
    let mut out = BufWriter::new(stdout().lock());
    let printed = reader.query(&filter, args.limit, keep, |entry| {
        let line = if args.shared.json { json_line(&entry) } else { text_line(&entry) };
        writeln!(out, "{line}").map_err(Interrupted::Output)
    });
    let printed = printed.await.and_then(|()| Ok(out.flush()?));
    database.close().await;
    match printed {
        // As after `head`: nobody wants the rest.
        Err(Interrupted::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

fn json_line(entry: &AuditEntry) -> String {
    // Its keys are text and its values text and whole numbers: nothing in it can fail.
    serde_json::to_string(entry).unwrap_or_default()
}

fn text_line(entry: &AuditEntry) -> String {
    let AuditEntry { timestamp, operation, status, agent_id, book_id, path, user_id, .. } = entry;
    let mut line = format!("{timestamp}  {operation:<7}  {status:<7}  {agent_id}");
    for part in [book_id, path].into_iter().filter(|part| !part.is_empty()) {
        line.push_str("  ");
        line.push_str(part);
    }
    if user_id != Layer::Base.as_str() {
        line.push_str("  overlay of ");
        line.push_str(user_id);
    }
    if let Some(code) = &entry.error_code {
        let message = entry.error_message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        line = format!("{line}  {code}{message}");
    }
    printable(&line)
}
