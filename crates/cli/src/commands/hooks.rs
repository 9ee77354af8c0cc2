//! `hooks`: webhooks, to which running servers send the changes of a book. The secret of a webhook is shown once,
//! when it is created. Running servers begin to send to a new one within 2 seconds; to a deleted one no delivery
//! begins any more.

use clap::{Args, Subcommand};
use panaversity_model::BookId;
use panaversity_model::feed::FeedPosition;
use panaversity_model::ports::Webhooks;
use panaversity_model::webhook::{
    DeadLetter, NewWebhook, WEBHOOK_ID_BYTES, WEBHOOK_SECRET_BYTES, Webhook, WebhookCreation, WebhookId,
    WebhookList, WebhookSecret, WebhookUrl,
};
use panaversity_server::WebhookLimits;
use panaversity_store::{Database, SqlJournal, SqlWebhooks};
use serde_json::{Value, json};

use super::maintenance::{DatabaseArgs, random, with_database};
use crate::failure::{Failure, print};

/// Dead letters that `list --json` names.
const LISTED_LETTERS: usize = 1_000;

/// Arguments of `hooks`.
#[derive(Args)]
pub(crate) struct HooksArgs {
    #[command(subcommand)]
    action: HooksAction,
}

#[derive(Subcommand)]
enum HooksAction {
    /// Create a webhook and print its secret, once
    #[command(
        after_help = "Example: panaversity-fs hooks create --book-id ai-python --url https://build.example.com/changes\n\n\
        Each change set that is committed from now on is sent to the URL, signed by Standard Webhooks."
    )]
    Create {
        /// The book whose changes are sent
        #[arg(long, value_name = "ID", value_parser = BookId::parse)]
        book_id: BookId,
        /// Where they are sent to: an http or https URL
        #[arg(long, value_name = "URL")]
        url: String,
        /// Begin behind this cursor of the feed, instead of now
        #[arg(long, value_name = "CURSOR")]
        since: Option<String>,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// List the webhooks, without their secrets
    #[command(after_help = "Example: panaversity-fs hooks list --json")]
    List {
        #[command(flatten)]
        shared: DatabaseArgs,
    },
    /// Delete a webhook with its dead letters: nothing is sent there any more
    #[command(after_help = "Example: panaversity-fs hooks delete 3f9c0a1b2d4e")]
    Delete {
        /// The id that `hooks list` shows
        id: String,
        #[command(flatten)]
        shared: DatabaseArgs,
    },
}

/// Runs `hooks`.
pub(crate) async fn run(args: HooksArgs) -> Result<(), Failure> {
    match args.action {
        HooksAction::Create { book_id, url, since, shared } => {
            let url = WebhookUrl::parse(&url).map_err(|refusal| Failure::Usage(format!("--{refusal}")))?;
            let since = since.map(|text| {
                FeedPosition::parse(&text)
                    .ok_or_else(|| Failure::Usage(format!("--since {text}: it is no cursor of the feed")))
            });
            create(book_id, url, since.transpose()?, shared).await
        }
        HooksAction::List { shared } => {
            let list = async |database| SqlWebhooks::new(database).webhooks(LISTED_LETTERS).await;
            let list = with_database(shared.flags, "the webhooks", list).await?;
            print(&if shared.json { list_as_json(&list).to_string() } else { as_text(&list) })
        }
        HooksAction::Delete { id, shared } => {
            let id = WebhookId::parse(&id).map_err(|refusal| Failure::Usage(refusal.to_string()))?;
            let delete = async |database| SqlWebhooks::new(database).delete_webhook(&id).await;
            if !with_database(shared.flags, "the webhooks", delete).await? {
                return Err(Failure::Failed(format!(
                    "there is no webhook {id}; `panaversity-fs hooks list` lists them"
                )));
            }
            print(&if shared.json {
                json!({ "id": id.as_str(), "status": "deleted" }).to_string()
            } else {
                format!("deleted webhook {id}: nothing is sent to it any more")
            })
        }
    }
}

async fn create(
    book: BookId,
    url: WebhookUrl,
    since: Option<FeedPosition>,
    shared: DatabaseArgs,
) -> Result<(), Failure> {
    let most = WebhookLimits::default().webhooks;
    let secret = WebhookSecret::from_random(random::<WEBHOOK_SECRET_BYTES>()?);
    let id = WebhookId::from_random(random::<WEBHOOK_ID_BYTES>()?);
    let create = async |database: Database| {
        let cursor = match since {
            Some(cursor) => cursor,
            None => SqlJournal::change_feed(database.clone()).feed_end().await?,
        };
        let new = NewWebhook { id, book, url, secret, cursor };
        let creation = SqlWebhooks::new(database).create_webhook(&new, most).await?;
        Ok((new, creation))
    };
    let (NewWebhook { id, book, url, secret, cursor }, creation) =
        with_database(shared.flags, "the webhooks", create).await?;
    let created_at = match creation {
        WebhookCreation::Created(at) => at,
        WebhookCreation::NoBook => {
            return Err(Failure::Failed(format!(
                "there is no book {book}; `panaversity-fs book list` lists them"
            )));
        }
        WebhookCreation::TooMany => {
            return Err(Failure::Failed(format!(
                "there are {most} webhooks, and there may be no more; delete one with `panaversity-fs hooks delete`"
            )));
        }
    };
    let (secret, url) = (secret.expose(), url.shown());
    print(&if shared.json {
        let (id, book, cursor) = (id.as_str(), book.as_str(), cursor.to_string());
        let created_at = created_at.to_string();
        json!({ "id": id, "book_id": book, "url": url, "created_at": created_at, "cursor": cursor, "secret": secret })
            .to_string()
    } else {
        format!(
            "{secret}\n\nKeep it now: it is shown only once. Its id is {id}; from now on the changes of {book} are \
             sent to {url}."
        )
    })
}

fn as_text(list: &WebhookList) -> String {
    if list.webhooks.is_empty() {
        return "there are no webhooks; `panaversity-fs hooks create` makes one".to_owned();
    }
    list.webhooks.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(webhook: &Webhook) -> String {
    let Webhook { id, book, url, failing, dead_letters, .. } = webhook;
    let (status, url) = (webhook.status().as_str(), url.shown());
    let failing = failing.as_ref().map_or_else(String::new, |failing| {
        format!("  since {}, {} attempts: {}", failing.since, failing.attempts, failing.error)
    });
    format!("{id}  {book}  {status:<8}  {dead_letters} dead  {url}{failing}")
}

fn list_as_json(list: &WebhookList) -> Value {
    let letters_of = |webhook: &Webhook| {
        let own = list.dead_letters.iter().filter(|letter| letter.webhook == webhook.id);
        own.map(letter_as_json).collect::<Vec<_>>()
    };
    let webhooks = list.webhooks.iter().map(|webhook| {
        let mut shown = json!({
            "id": webhook.id.as_str(),
            "book_id": webhook.book.as_str(),
            "url": webhook.url.shown(),
            "status": webhook.status().as_str(),
            "created_at": webhook.created_at.to_string(),
            "cursor": webhook.cursor.to_string(),
            "delivered_at": webhook.delivered_at.map(|at| at.to_string()),
            "dead_letters": letters_of(webhook),
        });
        if let Some(failing) = &webhook.failing {
            shown["failing"] = json!({
                "attempts": failing.attempts,
                "since": failing.since.to_string(),
                "next_attempt_at": failing.next_attempt_at.to_string(),
                "error": failing.error,
            });
        }
        if let Some(at) = webhook.gone_at {
            shown["gone_at"] = at.to_string().into();
        }
        shown
    });
    json!({ "webhooks": webhooks.collect::<Vec<_>>() })
}

fn letter_as_json(letter: &DeadLetter) -> Value {
    json!({
        "change_id": letter.position.change.to_string(),
        "since": letter.since().to_string(),
        "attempts": letter.attempts,
        "error": letter.error,
        "at": letter.at.to_string(),
    })
}
