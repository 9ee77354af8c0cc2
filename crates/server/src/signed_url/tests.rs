//! Tests of signed URLs: examples, and laws over random links.

use proptest::prelude::*;

use super::*;

fn unbound(public_url: Option<&str>, cdn: Option<&str>) -> SignedUrls {
    let published: PublishedKey =
        Arc::new(|key| format!("books/{}", key.location()).replace('é', "=C3=A9").replace('#', "=23"));
    SignedUrls::new(SignedUrlOptions {
        keys: LinkKeyRing::fixed(vec!["a key of this test".into(), "the key before".into()]),
        public_url: public_url.and_then(PublicUrl::parse),
        cdn: cdn.and_then(PublicUrl::parse).map(|url| (url, published)),
        valid_for: Duration::from_hours(1),
    })
}

fn links() -> SignedUrls {
    let links = unbound(None, None);
    links.bound_to(([127, 0, 0, 1], 8000).into());
    links
}

const BASE: &str = "http://127.0.0.1:8000";

fn open(links: &SignedUrls, url: &str) -> Result<[String; 2], InvalidSignature> {
    let rest = url.strip_prefix(BASE).unwrap();
    let (path, query) = rest.split_once('?').unwrap();
    links.open(path, query, ["state", "who"])
}

#[test]
fn a_link_opens_with_what_was_signed() {
    let links = links();
    let (url, expires) =
        links.signed("/books/b/archive.zip", &[("state", "abc"), ("who", "ann & b=ö")]).unwrap();
    assert_eq!(open(&links, &url), Ok(["abc".to_owned(), "ann & b=ö".to_owned()]));
    let left = expires - unix_now();
    assert!((3_590..=3_600).contains(&left), "{left}");
}

#[test]
fn whatever_is_changed_in_a_link_closes_it() {
    let links = links();
    let (url, expires) = links.signed("/books/b/archive.zip", &[("state", "abc"), ("who", "ann")]).unwrap();
    let later = (expires + 1).to_string();
    let changed = [
        url.replace("/b/", "/c/"),
        url.replace("abc", "abd"),
        url.replace("who=ann", "who=bob"),
        url.replace("state=abc&who=ann", "state=ann&who=abc"),
        url.replace("state=abc&", "state=abc&state=abc&"),
        url.replace("state=abc&", ""),
        url.replace("state=abc&who=ann", "state=abcwho&who=ann"),
        url.replace(&expires.to_string(), &later),
        url.replace("signature=", "signature=0"),
        url.split_once("&signature").unwrap().0.to_owned(),
        format!("{url}&more=1"),
        format!("{url}00"),
    ];
    for changed in changed {
        assert_eq!(open(&links, &changed), Err(InvalidSignature::Forged), "{changed}");
    }
    let other = SignedUrls::new(SignedUrlOptions {
        keys: LinkKeyRing::fixed(vec!["another key".into()]),
        public_url: None,
        cdn: None,
        valid_for: Duration::from_hours(1),
    });
    assert_eq!(open(&other, &url), Err(InvalidSignature::Forged));
}

#[test]
fn a_link_closes_when_its_time_is_over() {
    let links = links();
    let fields = [("state", "abc"), ("who", "ann")];
    let url = links.signed_until(BASE, "/x", &fields, unix_now());
    assert_eq!(open(&links, &url), Err(InvalidSignature::Expired));
    assert!(open(&links, &links.signed_until(BASE, "/x", &fields, unix_now() + 60)).is_ok());
}

#[test]
fn the_parameters_of_a_link_may_come_in_any_order() {
    let links = links();
    let (url, _) = links.signed("/x", &[("state", "abc"), ("who", "ann")]).unwrap();
    let (start, query) = url.split_once('?').unwrap();
    let mut pairs: Vec<_> = query.split('&').collect();
    for _ in 0..pairs.len() {
        pairs.rotate_left(1);
        for order in [pairs.clone(), pairs.iter().rev().copied().collect()] {
            let url = format!("{start}?{}", order.join("&"));
            assert_eq!(open(&links, &url), Ok(["abc".to_owned(), "ann".to_owned()]), "{url}");
        }
    }
}

#[test]
fn where_nobody_serves_links_there_are_none() {
    let (book, path) = (BookId::parse("ai-python").unwrap(), BookPath::parse("static/CNAME").unwrap());
    let stdio = unbound(None, None);
    assert_eq!(stdio.signed("/x", &[]), Err(Refusal::NoLinks));
    assert_eq!(stdio.asset_url(&book, &path), Err(Refusal::NoLinks));
    assert!(!stdio.are_served() && stdio.for_host(Some("localhost")).are_served());
    let cdn = unbound(None, Some("https://cdn.example.com"));
    assert!(cdn.asset_url(&book, &path).is_ok() && cdn.signed("/x", &[]).is_err());
    let public = unbound(Some("https://books.example.com"), None);
    assert!(public.asset_url(&book, &path).is_ok() && public.signed("/x", &[]).is_ok());
}

#[test]
fn links_begin_where_clients_reach_the_server() {
    let book = BookId::parse("ai-python").unwrap();
    let path = BookPath::parse("static/img/a b (1) é#?.png").unwrap();
    let own = "/books/ai-python/static/img/a%20b%20%281%29%20%C3%A9%23%3F.png";
    let local = links();
    assert_eq!(
        local.for_host(Some("localhost:9000")).asset_url(&book, &path).unwrap(),
        format!("http://localhost:9000{own}")
    );
    assert_eq!(
        local.for_host(Some("evil.example")).asset_url(&book, &path).unwrap(),
        format!("http://127.0.0.1:8000{own}")
    );
    let public = unbound(Some("https://books.example.com/fs/"), None);
    assert_eq!(
        public.for_host(Some("localhost")).asset_url(&book, &path).unwrap(),
        format!("https://books.example.com/fs{own}")
    );
    let cdn = unbound(None, Some("https://cdn.example.com"));
    assert_eq!(
        cdn.asset_url(&book, &path).unwrap(),
        "https://cdn.example.com/books/ai-python/static/img/a%20b%20%281%29%20%3DC3%3DA9%3D23%3F.png"
    );
}

/// Path, decoded, and query of a link to any resource with any values.
fn signed_parts() -> impl Strategy<Value = (String, String)> {
    ("/[ -~é]{0,20}", ".{0,12}", ".{0,12}").prop_map(|(path, state, who)| {
        let (url, _) = links().signed(&path, &[("state", &state), ("who", &who)]).unwrap();
        let (own, query) = url.strip_prefix(BASE).unwrap().split_once('?').unwrap();
        assert_eq!(percent_decode_str(own).decode_utf8().unwrap(), path);
        (path, query.to_owned())
    })
}

/// The parameters of a query, with their decoded values; the case of a signature's digits has no meaning.
fn meaning(query: &str) -> Vec<(&str, Vec<u8>)> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let decoded = pairs.map(|(name, value)| {
        let value: Vec<u8> = percent_decode_str(value).collect();
        (name, if name == SIGNATURE { value.to_ascii_lowercase() } else { value })
    });
    let mut pairs: Vec<_> = decoded.collect();
    pairs.sort();
    pairs
}

proptest! {
    #[test]
    fn any_link_opens_with_its_values_in_any_order(
        path in "/.{0,20}",
        values in proptest::array::uniform2(".{0,12}"),
        order in Just([0, 1, 2, 3]).prop_shuffle(),
    ) {
        let links = links();
        let (url, _) = links.signed(&path, &[("state", &values[0]), ("who", &values[1])]).unwrap();
        let pairs: Vec<_> = url.split_once('?').unwrap().1.split('&').collect();
        let query = order.map(|n| pairs[n]).join("&");
        prop_assert_eq!(links.open(&path, &query, ["state", "who"]), Ok(values));
    }

    #[test]
    fn a_link_with_one_changed_byte_is_forged_unless_it_means_the_same(
        (path, query) in signed_parts(),
        at: prop::sample::Index,
        byte in b' '..=b'~',
    ) {
        let mut changed = query.clone().into_bytes();
        changed[at.index(query.len())] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let opened = links().open(&path, &changed, ["state", "who"]);
        if meaning(&changed) == meaning(&query) {
            prop_assert!(opened.is_ok(), "{changed}");
        } else {
            prop_assert_eq!(opened, Err(InvalidSignature::Forged), "{}", changed);
        }
    }

    #[test]
    fn a_link_opens_no_other_path(
        (path, query) in signed_parts(),
        at: prop::sample::Index,
        by in proptest::char::any(),
        other in "/.{0,20}",
    ) {
        let mut changed: Vec<char> = path.chars().collect();
        let at = at.index(changed.len());
        changed[at] = by;
        for other in [changed.into_iter().collect(), other, format!("{path}/"), format!("{path}{by}")] {
            if other != path {
                let opened = links().open(&other, &query, ["state", "who"]);
                prop_assert_eq!(opened, Err(InvalidSignature::Forged), "{}", other);
            }
        }
    }

    #[test]
    fn a_link_with_a_parameter_more_or_less_is_forged(
        (path, query) in signed_parts(),
        at: prop::sample::Index,
        to: prop::sample::Index,
        more in "[a-z]{0,9}(=[0-9a-z%]{0,5})?",
    ) {
        let pairs: Vec<_> = query.split('&').collect();
        let (mut less, mut twice, mut added) = (pairs.clone(), pairs.clone(), pairs.clone());
        let one = less.remove(at.index(pairs.len()));
        twice.insert(to.index(pairs.len() + 1), one);
        added.insert(to.index(pairs.len() + 1), &more);
        for changed in [less, twice, added] {
            let changed = changed.join("&");
            let opened = links().open(&path, &changed, ["state", "who"]);
            prop_assert_eq!(opened, Err(InvalidSignature::Forged), "{}", changed);
        }
    }

    #[test]
    fn a_link_of_one_kind_opens_nothing_of_another(path in "/[a-z/]{0,20}", values in proptest::array::uniform4(".{0,9}")) {
        let links = links();
        let values = values.each_ref().map(String::as_str);
        let query = |names: &[&'static str]| {
            let fields: Vec<_> = names.iter().copied().zip(values).collect();
            links.signed(&path, &fields).unwrap().0.split_once('?').unwrap().1.to_owned()
        };
        let (archive, content, upload) = (query(&ARCHIVE_FIELDS), query(&CONTENT_FIELDS), query(&UPLOAD_FIELDS));
        prop_assert!(links.open(&path, &archive, ARCHIVE_FIELDS).is_ok());
        for other in [&content, &upload] {
            prop_assert_eq!(links.open(&path, other, ARCHIVE_FIELDS), Err(InvalidSignature::Forged));
        }
        for other in [&archive, &upload] {
            prop_assert_eq!(links.open(&path, other, CONTENT_FIELDS), Err(InvalidSignature::Forged));
        }
        for other in [&archive, &content] {
            prop_assert_eq!(links.open(&path, other, UPLOAD_FIELDS), Err(InvalidSignature::Forged));
        }
    }

    #[test]
    fn a_link_is_open_exactly_until_it_expires(expires: u64, soon in -5_000_i64..5_000) {
        let links = links();
        let fields = [("state", "abc"), ("who", "ann")];
        for expires in [expires, unix_now().saturating_add_signed(soon)] {
            let url = links.signed_until(BASE, "/x", &fields, expires);
            let (before, opened, after) = (unix_now(), open(&links, &url), unix_now());
            prop_assert!(if opened.is_ok() { before < expires } else { after >= expires }, "{expires}");
            prop_assert!(opened.is_ok() || opened == Err(InvalidSignature::Expired));
        }
    }

    #[test]
    fn a_query_that_nobody_signed_opens_nothing(
        path in ".{0,20}",
        any in ".{0,60}",
        alike in "((state|who|expires|signature|%73tate)?=?[0-9a-f%+é]{0,9}&?){0,7}",
        signature in "(|[0-9a-fA-F]{64})",
    ) {
        let whole = format!("state=a&who=b&expires=99999999999&signature={signature}");
        for query in [any, alike, whole] {
            prop_assert_eq!(links().open(&path, &query, ["state", "who"]), Err(InvalidSignature::Forged));
        }
    }
}
