//! Mounted disks for tests: small ones that fill up, and one whose power can be cut. Mounting
//! requires root; where it fails, the reason is returned and the test skips.
//!
//! # Simulated power cut
//! The file system is shut down without writing its log (`FS_IOC_SHUTDOWN`). From then on every
//! access fails, and data that was never synced is lost after the next mount.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// `FS_IOC_SHUTDOWN` with "no log flush". In Perl, which every Debian has: Rust would need
/// `unsafe`.
const SHUT_DOWN: &str = r#"
    open(my $disk, "<", $ARGV[0]) or die "$!\n";
    my $without_log = pack("L", 2);
    ioctl($disk, 0x8004587D, $without_log) or die "$!\n";
"#;

/// Longest time that a disk is busy although nobody uses it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A mounted disk; dropping it unmounts it.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// A disk of the given size in memory (tmpfs).
    ///
    /// # Errors
    /// The reason why it cannot be mounted here.
    pub fn small(at: &Path, kibibytes: u32) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kibibytes}k"), "tmpfs"])
            .arg(at))?;
        Ok(Self { at: at.to_owned(), image: None })
    }

    /// An ext4 disk of the given size in the file `image`.
    ///
    /// # Errors
    /// The reason why it cannot be mounted here.
    pub fn with_power(image: &Path, at: &Path, mebibytes: u64) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let file = fs::File::create(image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        let disk = Self { at: at.to_owned(), image: Some(image.to_owned()) };
        disk.mount()?;
        Ok(disk)
    }

    /// Writes a file until the disk is full.
    pub fn fill(&self) {
        let mut filler = fs::File::options().create(true).append(true).open(self.filler()).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        // After a failed write of a page there may be space for part of one.
        while filler.write_all(&[0]).is_ok() {}
    }

    /// Deletes that file.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// Cuts the power: every later access fails.
    pub fn cut_power(&self) {
        run(Command::new("perl").args(["-e", SHUT_DOWN]).arg(&self.at)).unwrap();
    }

    /// Mounts the disk again, as after a restart. No process may be using it, but for a moment: a program
    /// that another test starts holds every descriptor of this process between its fork and its exec.
    pub fn restart(&self) {
        let began = Instant::now();
        while let Err(why) = run(Command::new("umount").arg(&self.at)) {
            assert!(began.elapsed() < BUSY_TIMEOUT, "{why}");
            thread::sleep(Duration::from_millis(10));
        }
        self.mount().unwrap();
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.image.as_ref().expect("only a disk with power is mounted again");
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(&self.at))
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.at)).is_err() {
            // It is in use: a lazy unmount detaches it when the last user has closed it.
            let _ = run(Command::new("umount").arg("-l").arg(&self.at));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
}
