//! Arguments shared by the commands that connect to a server.

use std::io::Write;

use panaversity_client::{Client, SyncError};
use panaversity_server::PublicUrl;
use secrecy::ExposeSecret;

use crate::config::ConfigError;
use crate::config::sources::secret_of_environment;

/// The server's URL when neither `--url` nor `PANAVERSITY_URL` is set.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// Name of the token or key of a server that authenticates its callers.
const TOKEN: &str = "PANAVERSITY_TOKEN";

/// Address of the server. Its token, if it needs one, is read from `PANAVERSITY_TOKEN`, or from the file
/// that `PANAVERSITY_TOKEN_FILE` names.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's URL [default: env `PANAVERSITY_URL`, else local port 8000]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// True if what is sent to the URL can be read on the way.
fn is_readable_by_others(url: &str) -> bool {
    PublicUrl::parse(url).is_some_and(|url| !url.is_private())
}

fn warn(why: &str) {
    // A write error is ignored: there is no other place to report it.
    let _ = writeln!(std::io::stderr(), "panaversity-fs: {why}");
}

impl ServerArgs {
    /// A client of the server that identifies itself as `agent`.
    pub(crate) fn client(&self, agent: &'static str) -> Result<Client, SyncError> {
        let by_flag = self.url.clone().map(|url| ("--url", url));
        let given = by_flag.or_else(|| Some(("PANAVERSITY_URL", std::env::var("PANAVERSITY_URL").ok()?)));
        let (name, url) =
            given.filter(|(_, url)| !url.is_empty()).unwrap_or_else(|| ("--url", DEFAULT_URL.to_owned()));
        let client = Client::new(&url, agent).map_err(|why| SyncError::usage(format!("{name} {why}")))?;
        // Never a flag: command lines are seen by other users and kept in histories.
        let token = secret_of_environment(TOKEN).map_err(|ConfigError(why)| SyncError::usage(why))?;
        if token.is_some() && is_readable_by_others(&url) {
            warn("the token is sent unencrypted: use https where others can read the network");
        }
        match token {
            Some(token) => client
                .with_token(token.expose_secret())
                .map_err(|why| SyncError::usage(format!("{TOKEN}: {why}"))),
            None => Ok(client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_readable_by_others_over_http_to_another_machine() {
        assert!(is_readable_by_others("http://books.example.com"));
        for url in ["https://books.example.com", "http://127.0.0.1:8000", "http://localhost:8000/"] {
            assert!(!is_readable_by_others(url), "{url}");
        }
    }
}
