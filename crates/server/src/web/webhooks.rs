//! The webhooks on the page of the state: which there are, how they are, and the latest dead letters. Of a URL
//! the host alone is shown, because the rest may contain a secret of the receiver.

use maud::{Markup, html};
use panaversity_model::BookId;
use panaversity_model::webhook::{DeadLetter, Webhook, WebhookList, WebhookStatus};

use super::shown;
use crate::AppState;

/// Dead letters that are shown.
const SHOWN_LETTERS: usize = 20;

/// The section; nothing if there is no webhook.
pub(super) async fn section(app: &AppState) -> Markup {
    let Some(webhooks) = &app.webhooks else { return Markup::default() };
    let read = tokio::time::timeout(app.limits.probe_timeout, webhooks.webhooks(SHOWN_LETTERS));
    let Ok(Ok(list)) = read.await else {
        return html! { h2 { "Webhooks" } p { "Unknown: the database does not answer." } };
    };
    if list.webhooks.is_empty() {
        return Markup::default();
    }
    html! {
        h2 { "Webhooks" }
        (table(&list.webhooks))
        @if !list.dead_letters.is_empty() {
            h3 { "Latest dead letters" }
            p { "Change sets that were refused too often. The feed tells them from " code { "since" } " on." }
            (letters(&list))
        }
    }
}

fn table(webhooks: &[Webhook]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Webhooks" {
            table {
                thead {
                    tr {
                        th scope="col" { "Webhook" } th scope="col" { "Book" } th scope="col" { "Host" }
                        th scope="col" { "State" }
                        th scope="col" { "Last delivery" }
                        th scope="col" { "Dead letters" }
                    }
                }
                tbody { @for webhook in webhooks { (row(webhook)) } }
            }
        }
    }
}

fn row(webhook: &Webhook) -> Markup {
    html! {
        tr {
            th scope="row" { code { (webhook.id) } }
            td { (webhook.book) }
            td { (webhook.url.host()) }
            td { (state(webhook)) }
            td { @if let Some(at) = webhook.delivered_at { (shown::time(at)) } @else { "none yet" } }
            td.number { (webhook.dead_letters) }
        }
    }
}

fn state(webhook: &Webhook) -> Markup {
    match (webhook.status(), &webhook.failing) {
        (WebhookStatus::Retrying, Some(failing)) => html! {
            strong.problem { "retrying" } " since " (shown::time(failing.since)) ", after "
            (shown::count(failing.attempts.try_into().unwrap_or(usize::MAX), "attempt", "attempts"))
            ", again at " (shown::time(failing.next_attempt_at)) ": " (failing.error)
        },
        (WebhookStatus::Gone, _) => html! {
            strong.problem { "gone" } ": the receiver answered 410, and is sent nothing any more"
        },
        (WebhookStatus::Waiting, _) => html! { "waiting for a server" },
        (WebhookStatus::Active | WebhookStatus::Retrying, _) => html! { "active" },
    }
}

fn letters(list: &WebhookList) -> Markup {
    let book = |letter: &DeadLetter| -> Option<&BookId> {
        list.webhooks.iter().find(|webhook| webhook.id == letter.webhook).map(|webhook| &webhook.book)
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Dead letters" {
            table {
                thead {
                    tr {
                        th scope="col" { "Given up" } th scope="col" { "Webhook" } th scope="col" { "Book" }
                        th scope="col" { "Since" }
                        th scope="col" { "Attempts" }
                        th scope="col" { "Reason" }
                    }
                }
                tbody {
                    @for letter in &list.dead_letters {
                        tr {
                            td { (shown::time(letter.at)) }
                            td { code { (letter.webhook) } }
                            td { @if let Some(book) = book(letter) { (book) } }
                            td { code { (letter.since()) } }
                            td.number { (letter.attempts) }
                            td { (letter.error) }
                        }
                    }
                }
            }
        }
    }
}
