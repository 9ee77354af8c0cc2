//! Sanitising of rendered pages, by ammonia: the last step, which relies on none before it.

use std::borrow::Cow;
use std::collections::HashSet;

use ammonia::Builder;
use panaversity_model::BookPath;

use super::targets;
use crate::web::links::BookLinks;

/// Beginning of all ids that a page's content has, so that none is one of the page around it.
pub(super) const ID_PREFIX: &str = "s-";

/// Elements beyond those that ammonia admits, of which these would be landmarks of the page, or its title.
const REMOVED: [&str; 9] = ["area", "aside", "footer", "h1", "header", "hgroup", "map", "nav", "article"];
const HEADINGS: [&str; 5] = ["h2", "h3", "h4", "h5", "h6"];

/// HTML that runs nothing and loads only images of the book.
pub(super) fn sanitise(html: &str, links: &BookLinks, page: &BookPath) -> String {
    let (links, page) = (links.clone(), page.clone());
    let mut builder = Builder::default();
    builder
        .rm_tags(REMOVED)
        .add_tags(["section"])
        .add_generic_attributes(["dir"])
        .add_tag_attributes("div", ["class", "tabindex", "id"])
        .add_tag_attributes("pre", ["tabindex"])
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .id_prefix(Some(ID_PREFIX))
        .attribute_filter(move |element, attribute, value| filter(element, attribute, value, &links, &page));
    for heading in HEADINGS {
        builder.add_tag_attributes(heading, ["id"]);
    }
    builder.clean(html).to_string()
}

/// The value of an attribute as it is kept.
fn filter<'a>(
    element: &str,
    attribute: &str,
    value: &'a str,
    links: &BookLinks,
    page: &BookPath,
) -> Option<Cow<'a, str>> {
    match (element, attribute) {
        ("a", "href") => targets::of_link(value, links, page).map(Cow::Owned),
        ("img", "src") => targets::of_image(value, links, page).map(Cow::Owned),
        (_, "href" | "src" | "cite") => None,
        (_, "class") => (value == "scroll").then_some(Cow::Borrowed(value)),
        (_, "tabindex") => (value == "0").then_some(Cow::Borrowed(value)),
        _ => Some(Cow::Borrowed(value)),
    }
}
