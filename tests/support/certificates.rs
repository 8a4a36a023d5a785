//! Certificates for tests: a private authority and a server certificate for `localhost` and 127.0.0.1.
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};

use super::Folder;

/// A year that no test will see.
const LATE: i32 = 4096;

/// PEM files in a temporary folder that lives as long as this value.
pub struct Certificates {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
}

impl Certificates {
    /// A server certificate for `localhost` and `127.0.0.1`, signed by a fresh authority.
    pub fn new() -> Certificates {
        Certificates::for_names(&["localhost", "127.0.0.1"])
    }

    /// A server certificate for other names, for instance to make `verify-full` fail.
    pub fn for_names(names: &[&str]) -> Certificates {
        let ca_key = KeyPair::generate().expect("no key");
        Certificates::issue(names, &ca_key, LATE)
    }

    /// A server certificate that has run out, and another of the same authority that has not.
    pub fn expired() -> (Certificates, Certificates) {
        let ca_key = KeyPair::generate().expect("no key");
        let issue = |year| Certificates::issue(&["localhost", "127.0.0.1"], &ca_key, year);
        (issue(2020), issue(LATE))
    }

    /// `until`: the year in which the server certificate runs out.
    fn issue(names: &[&str], ca_key: &KeyPair, until: i32) -> Certificates {
        let mut ca = CertificateParams::new(Vec::<String>::new()).expect("no parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name
            .push(DnType::CommonName, "pgveil test authority");
        let ca_cert = ca
            .self_signed(ca_key)
            .expect("the authority cannot sign itself");
        let own_key = KeyPair::from_pem(&ca_key.serialize_pem()).expect("the same key");
        let issuer = Issuer::new(ca, own_key);

        let key = KeyPair::generate().expect("no key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut server = CertificateParams::new(names).expect("names that no certificate can hold");
        server
            .distinguished_name
            .push(DnType::CommonName, "pgveil test server");
        server.not_after = rcgen::date_time_ymd(until, 1, 1);
        let cert = server
            .signed_by(&key, &issuer)
            .expect("the authority cannot sign");

        let (ca_pem, cert_pem, key_pem) = (ca_cert.pem(), cert.pem(), key.serialize_pem());
        let folder = Folder::new("certificates");
        folder.write("ca.crt", &ca_pem);
        folder.write("server.crt", &cert_pem);
        folder.write("server.key", &key_pem);
        Certificates {
            folder,
            issuer,
            ca_pem,
            cert_pem,
            key_pem,
        }
    }

    /// Files of a client's certificate and key, signed by the same authority. `name` is its common name, besides the
    /// organisation `Example`; valid in the years from `valid.start` to `valid.end`.
    pub fn client(&self, name: &str, valid: std::ops::Range<i32>) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("no key");
        let mut client = CertificateParams::new(Vec::<String>::new()).expect("no parameters");
        client.distinguished_name = DistinguishedName::new();
        client
            .distinguished_name
            .push(DnType::OrganizationName, "Example");
        client.distinguished_name.push(DnType::CommonName, name);
        client.not_before = rcgen::date_time_ymd(valid.start, 1, 1);
        client.not_after = rcgen::date_time_ymd(valid.end, 1, 1);
        let cert = client
            .signed_by(&key, &self.issuer)
            .expect("the authority cannot sign");
        // Names may hold what connection strings take for something else.
        let word = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let file = format!("{word}-{}-{}", valid.start, valid.end);
        let cert = self.folder.write(&format!("{file}.crt"), cert.pem());
        let key = self
            .folder
            .write(&format!("{file}.key"), key.serialize_pem());
        // libpq takes no key that others may read.
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        (cert, key)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }
    pub fn cert_file(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}
