//! The account that PostgreSQL runs under: it refuses to run as root.
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::DemoError;

/// User and group of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account to change to, or `None` where the demo's own will do. `owned` is a file that this process made:
    /// its owner is who we are.
    pub fn for_postgres(owned: &Path) -> Result<Option<Self>, DemoError> {
        let file_error = |doing, path: &Path, source| DemoError::File {
            doing,
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(owned).map_err(|e| file_error("look at", owned, e))?;
        if metadata.uid() != 0 {
            return Ok(None);
        }
        let passwd = Path::new("/etc/passwd");
        let text = std::fs::read_to_string(passwd).map_err(|e| file_error("read", passwd, e))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find(&text, name))
            .map(Some)
            .ok_or(DemoError::NoAccount)
    }
}

/// An account by name in the text of a passwd(5) file.
fn find(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:108:,,,:/var/lib/postgresql:/bin/bash\nodd\n:\nevil:x:0:0::/:/bin/sh\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(
            find(PASSWD, "postgres"),
            Some(Account { uid: 104, gid: 108 })
        );
        assert_eq!(find(PASSWD, "post"), None);
    }

    #[test]
    fn another_name_for_root_is_no_account() {
        assert_eq!(find(PASSWD, "evil"), None);
        assert_eq!(find(PASSWD, "odd"), None);
    }
}
