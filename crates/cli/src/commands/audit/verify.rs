//! `audit verify`: the chains in the database, or those of a file.

use std::path::PathBuf;

use clap::Args;
use panaversity_model::audit_export::EarlierTips;
use panaversity_model::{BookId, BookPath, Layer, Refusal, UserId};
use panaversity_service::verify::ChainScope;
use serde_json::{Value, json};

use super::query::user_id;
use super::{Interrupted, book_id, break_json, break_line, entries_shown, file, open};
use crate::commands::maintenance::DatabaseArgs;
use crate::failure::{Failure, print};
use crate::progress::MaintenanceProgress;

/// Arguments of `audit verify`.
#[derive(Args)]
pub(super) struct VerifyArgs {
    /// An export to verify instead of the database
    #[arg(value_name = "FILE", conflicts_with_all = ["book_id", "path", "user_id"])]
    file: Option<PathBuf>,
    /// An earlier export: each of its chains must be continued, not rewritten
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Only chains of this book
    #[arg(long, value_name = "ID", value_parser = book_id)]
    book_id: Option<BookId>,
    /// Only chains of this file, in all layers
    #[arg(long, value_name = "PATH", requires = "book_id", value_parser = book_path)]
    path: Option<BookPath>,
    /// Only chains of this user's overlay; left out: all layers
    #[arg(long, value_name = "USER", value_parser = user_id)]
    user_id: Option<UserId>,
    #[command(flatten)]
    shared: DatabaseArgs,
}

fn book_path(text: &str) -> Result<BookPath, Refusal> {
    BookPath::parse(text)
}

/// Result of a verification, as printed.
pub(super) struct Verification {
    pub(super) chains: u64,
    pub(super) entries: u64,
    /// Chains of the earlier export that were compared.
    pub(super) compared: Option<usize>,
    /// Breaks as JSON and as lines.
    pub(super) breaks: Vec<(Value, String)>,
    /// Digest of a file.
    pub(super) digest: Option<String>,
}

/// Runs `audit verify`.
pub(super) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let as_json = args.shared.json;
    let earlier = args.against.as_deref().map(file::earlier).transpose()?;
    let found = match &args.file {
        Some(path) => file::verify(path, earlier)?,
        None => in_database(args, earlier.map(|earlier| earlier.tips)).await?,
    };
    let valid = found.breaks.is_empty();
    let compared =
        found.compared.map(|count| format!(", {count} as they were or longer")).unwrap_or_default();
    print(&if as_json {
        json!({
            "valid": valid,
            "chains": found.chains,
            "entries_checked": found.entries,
            "compared_chains": found.compared,
            "digest": found.digest,
            "breaks": found.breaks.iter().map(|(json, _)| json).collect::<Vec<_>>(),
        })
        .to_string()
    } else if valid {
        let digest = found.digest.map(|digest| format!("\ndigest {digest}")).unwrap_or_default();
        format!("valid: {} entries in {} chains{compared}{digest}", found.entries, found.chains)
    } else {
        let lines: Vec<_> = found.breaks.iter().map(|(_, line)| line.as_str()).collect();
        format!("{}\nNOT valid: {} breaks, {} entries checked", lines.join("\n"), lines.len(), found.entries)
    })?;
    if valid { Ok(()) } else { Err(Failure::Logged) }
}

async fn in_database(args: VerifyArgs, earlier: Option<EarlierTips>) -> Result<Verification, Failure> {
    let scope = ChainScope {
        book: args.book_id,
        path: args.path.map(|path| path.as_str().to_owned()),
        layer: args.user_id.map(Layer::Overlay),
    };
    let compared = earlier.clone().map(|mut earlier| {
        earlier.retain(|key| scope.contains(key));
        earlier.count()
    });
    let (reader, database) = open(args.shared.flags).await?;
    let bar = MaintenanceProgress::new(args.shared.json);
    let show = entries_shown(&bar, "audit verify: entries", &reader, &scope).await;
    let report = reader.verify(&scope, earlier.unwrap_or_default(), show).await;
    database.close().await;
    drop(bar);
    let report = report.map_err(Interrupted::Database)?;
    Ok(Verification {
        chains: report.chains,
        entries: report.entries_checked,
        compared,
        breaks: report.breaks.iter().map(|found| (break_json(found), break_line(found))).collect(),
        digest: None,
    })
}
