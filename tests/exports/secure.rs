//! The console over TLS.
use crate::support::{Certificates, Config, Pgveil, free_port};
use crate::{BOTH, policy, server};

#[test]
fn over_tls_cookies_are_for_this_host_over_tls_alone() {
    let server = server(&[]);
    let certificates = Certificates::new();
    let port = free_port();
    let mut config = Config::new(&server);
    config.policy(&policy(BOTH));
    config.set(
        "console",
        &format!(
            "{{ listen: \"127.0.0.1:{port}\", tls: {{ cert: {}, key: {} }}, url: \"https://localhost:{port}\" }}",
            certificates.cert_file().display(),
            certificates.key_file().display()
        ),
    );
    let _pgveil = Pgveil::start(&config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let authority = reqwest::Certificate::from_pem(certificates.ca_pem.as_bytes());
        let client = reqwest::Client::builder()
            .tls_certs_only([authority.expect("a certificate")])
            .no_proxy()
            .build()
            .expect("a client");
        let answer = client
            .get(format!("https://localhost:{port}/login"))
            .send()
            .await;
        let answer = answer.expect("a page");
        assert_eq!(answer.status().as_u16(), 200);
        let header = |name: &str| {
            let value = answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let cookie = header("set-cookie");
        assert!(cookie.starts_with("__Host-pgveil_login="), "{cookie}");
        for attribute in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} in {cookie}");
        }
        assert!(header("strict-transport-security").contains("max-age="));
        assert!(header("content-security-policy").contains("default-src 'none'"));
        // In the clear there is nothing.
        let clear = client
            .get(format!("http://localhost:{port}/login"))
            .send()
            .await;
        assert!(clear.is_err(), "{clear:?}");
    });
}
