//! A private Redis, with a password, which ends with the process that started it: the kernel kills it when
//! the thread that waits for it is gone. It keeps nothing on disk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::postgres::free_port;

/// Password of the server.
pub const PASSWORD: &str = "redis-password-of-the-tests";
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Redis {
    port: u16,
}

/// The server of this process, started on first use.
pub fn shared() -> &'static Redis {
    static SHARED: OnceLock<Redis> = OnceLock::new();
    SHARED.get_or_init(Redis::start)
}

impl Redis {
    fn start() -> Self {
        let port = free_port();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "redis-server", "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--requirepass", PASSWORD, "--port"]).arg(port.to_string());
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        thread::spawn(move || {
            let child = command.spawn();
            let mut child = child.expect("`setpriv` of util-linux is needed to start a Redis");
            let _ = child.wait();
        });
        let (redis, start) = (Self { port }, Instant::now());
        while redis.answer("PING").is_none() {
            assert!(start.elapsed() < READY_TIMEOUT, "Redis is not ready; run scripts/install-test-tools");
            thread::sleep(Duration::from_millis(5));
        }
        redis
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The URL of this server, or of a proxy in front of it.
    pub fn url_at(address: SocketAddr) -> String {
        format!("redis://:{PASSWORD}@{address}/0")
    }

    /// The answer to an inline command, of up to 64 KiB; `None`: there was none.
    pub fn answer(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        write!(stream, "AUTH {PASSWORD}\r\n{command}\r\nQUIT\r\n").ok()?;
        let mut answer = Vec::new();
        stream.take(1 << 16).read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let answer = answer.strip_prefix("+OK\r\n")?.strip_suffix("+OK\r\n")?.trim_end().to_owned();
        Some(answer)
    }

    /// Names of the keys that match a pattern.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let answer = self.answer(&format!("KEYS {pattern}")).expect("Redis answers");
        let lines = answer.lines().filter(|line| !line.starts_with(['*', '$']));
        lines.map(str::to_owned).collect()
    }
}
