//! libpq's password file: lines `host:port:database:user:password`, of which the first that matches
//! counts. `*` matches everything; a backslash escapes a colon or a backslash.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Password for a server that has one of these names. A file that others may read is ignored, as by
/// libpq.
pub(super) fn password(file: &Path, hosts: &[&str], port: u16, database: &str, user: &str) -> Option<String> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    if mode & 0o077 != 0 {
        let file = file.display();
        tracing::warn!(target: "panaversity_fs.database", %file, "others may read the password file: ignored");
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    find(&text, hosts, port, database, user)
}

fn find(text: &str, hosts: &[&str], port: u16, database: &str, user: &str) -> Option<String> {
    let port = port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let [host, of_port, of_database, of_user, password] = fields(line)?;
        let matches = |field: &str, value: &str| field == "*" || field == value;
        let is_host = hosts.iter().any(|name| matches(&host, name));
        let is_it = is_host && matches(&of_port, &port) && matches(&of_database, database);
        (is_it && matches(&of_user, user)).then_some(password)
    })
}

/// Fields of a line. The last one is the rest of it.
fn fields(line: &str) -> Option<[String; 5]> {
    let mut fields: [String; 5] = Default::default();
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if at < 4 => at += 1,
            '\\' => fields[at].extend(characters.next()),
            _ => fields[at].push(character),
        }
    }
    (at == 4).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_matches_counts() {
        let text = "# db:5432:books:pfs:comment\nshort:line\ndb:5433:books:pfs:other\n\
                    db:5432:books:pfs:one\\:two\\\\\ndb:5432:*:pfs:late\n*:*:*:*:any:thing\n";
        let find = |host, user| find(text, &[host], 5432, "books", user);
        assert_eq!(find("db", "pfs").as_deref(), Some("one:two\\"));
        assert_eq!(find("elsewhere", "pfs").as_deref(), Some("any:thing"));
        assert_eq!(super::find("h:*:*:u:p", &["/run/pg", "h"], 1, "d", "u").as_deref(), Some("p"));
        assert_eq!(super::find("h:*:*:u:p", &["h"], 1, "d", "v"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "*:*:*:*:secret\n").unwrap();
        let set =
            |mode| std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        assert_eq!(password(file.path(), &["h"], 1, "d", "u"), None);
        set(0o600);
        assert_eq!(password(file.path(), &["h"], 1, "d", "u").as_deref(), Some("secret"));
    }
}
