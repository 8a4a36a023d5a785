//! A disk that is really full: a file system of its own in memory.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder::Folder;

/// A file system in memory.
pub struct Disk(PathBuf);

impl Disk {
    /// `None` where this machine does not let one be mounted.
    pub fn mount(folder: &Folder, kibibytes: u32) -> Option<Disk> {
        let place = folder.path().join("disk");
        std::fs::create_dir(&place).expect("a folder");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={kibibytes}k,mode=0777"),
                "tmpfs",
            ])
            .arg(&place)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Disk(place))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn resize(&self, kibibytes: u32) {
        let resized = Command::new("mount")
            .args(["-o", &format!("remount,size={kibibytes}k")])
            .arg(&self.0)
            .status();
        assert!(resized.is_ok_and(|status| status.success()), "remount");
    }

    /// Takes all that is free.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("a file");
        let full = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives back what [`Disk::fill`] has taken.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
