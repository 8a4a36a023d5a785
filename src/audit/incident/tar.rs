//! A tar archive of plain files (POSIX.1-1988 `ustar`), for handing a folder on as one file.
use std::io::{self, Write};

const BLOCK: usize = 512;

/// Writes files one after the other.
pub struct Archive<W> {
    out: W,
    /// Of every file: seconds since 1970.
    time: u64,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W, time: u64) -> Self {
        Archive { out, time }
    }

    /// # Errors
    /// The name is longer than 100 bytes, the file longer than 8 GiB; those of the output.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        if name.len() > 100 || size >= 1 << 33 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut header = Vec::with_capacity(BLOCK);
        field(&mut header, name.as_bytes(), 100);
        field(&mut header, b"0000600", 8);
        field(&mut header, b"0000000", 8);
        field(&mut header, b"0000000", 8);
        field(&mut header, format!("{size:011o}").as_bytes(), 12);
        field(&mut header, format!("{:011o}", self.time).as_bytes(), 12);
        // The checksum counts its own place as blanks.
        let checksum_at = header.len();
        field(&mut header, b"        ", 8);
        header.push(b'0');
        field(&mut header, b"", 100);
        header.extend_from_slice(b"ustar\x0000");
        header.resize(BLOCK, 0);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        if let Some(place) = header.get_mut(checksum_at..checksum_at + 8) {
            place.copy_from_slice(sum.as_bytes());
        }
        self.out.write_all(&header)?;
        self.out.write_all(bytes)?;
        let padding = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.out.write_all(&vec![0; padding])
    }

    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}

fn field(header: &mut Vec<u8>, bytes: &[u8], width: usize) {
    let end = header.len() + width;
    header.extend_from_slice(bytes);
    header.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Dir;
    use std::process::Command;

    #[test]
    fn the_systems_tar_reads_it() {
        let dir = Dir::new();
        let path = dir.path().join("x.tar");
        let file = std::fs::File::create(&path).expect("made");
        let mut archive = Archive::new(file, 1_793_491_200);
        let long = "x".repeat(1000);
        archive.file("a/b.txt", long.as_bytes()).expect("written");
        archive.file("empty", b"").expect("written");
        assert!(archive.file(&"n".repeat(101), b"").is_err());
        archive.finish().expect("written");
        let output = Command::new("tar")
            .args(["-x", "-v", "-f"])
            .arg(&path)
            .current_dir(dir.path())
            .output()
            .expect("tar runs");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a/b.txt\nempty\n");
        let read = std::fs::read_to_string(dir.path().join("a/b.txt")).expect("read");
        assert_eq!(read, long);
    }
}
