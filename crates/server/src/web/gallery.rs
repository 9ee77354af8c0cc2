//! `GET /ui/books/{book}/assets`: the assets of a book and the files beside its pages, images as images.

use axum::response::Response;
use maud::{Markup, html};
use panaversity_model::asset::Asset;
use panaversity_model::audit::Operation;
use panaversity_model::{Layer, media};

use super::layout::WebPage;
use super::links::BookLinks;
use super::request::PageRequest;
use super::{book, shown};

/// Assets on a page.
const ASSETS: usize = 60;
/// Largest image that is shown in the gallery; a browser fetches all of a page at once.
const MOST_IMAGE_BYTES: u64 = 2_000_000;

pub(super) async fn page(request: PageRequest) -> Response {
    let request = &request;
    request
        .show("GET /ui/assets", Operation::List, async |call| {
            let access = call.may_read(request.book()?, Layer::Base)?;
            let links = BookLinks::new(access.book(), access.layer());
            let page = call.list_assets(&access, None, request.query.path("after")?).await?;
            let shown = &page.assets[..page.assets.len().min(ASSETS)];
            let is_last = page.next.is_none() && shown.len() == page.assets.len();
            let next = shown.last().filter(|_| !is_last).map(|asset| &asset.record.path);
            let main = html! {
                @if shown.is_empty() { p { "The book has no assets." } }
                ul.gallery { @for asset in shown { (card(asset, &links)) } }
                @if next.is_some() { p { a href=(links.gallery(next)) { "More assets" } } }
            };
            let crumbs = book::crumbs(&links, None, true);
            Ok(WebPage { crumbs, main, ..WebPage::titled(format!("Assets of {}", links.book)) })
        })
        .await
}

fn card(asset: &Asset, links: &BookLinks) -> Markup {
    let record = &asset.record;
    let media_type = media::type_of(&record.path);
    html! {
        li {
            a href=(links.file(&record.path)) {
                @if media_type.starts_with("image/") && record.size <= MOST_IMAGE_BYTES {
                    img src=(links.bytes(&record.path)) alt="" loading="lazy";
                } @else {
                    span.kind aria-hidden="true" { (media_type.split(';').next().unwrap_or_default()) }
                }
                bdi { (record.path) }
            }
            span.quiet { (shown::size(record.size)) " · " (shown::agent(asset.agent.as_str())) }
        }
    }
}
