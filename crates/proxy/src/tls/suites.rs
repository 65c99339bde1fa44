//! OpenSSL's strings of cipher suites (`openssl-ciphers(1)`), as far as rustls has the suites. Pure.
//!
//! Not here: suites of TLS 1.3, which OpenSSL does not choose by these strings either.

/// All suites of TLS 1.2 that there are, by OpenSSL's names, best first.
pub(crate) const ALL: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Words that stand for none of them: what they are about is not there.
const OTHERS: &[&str] = &[
    "aNULL",
    "eNULL",
    "NULL",
    "EXPORT",
    "EXP",
    "LOW",
    "MEDIUM",
    "DES",
    "3DES",
    "RC4",
    "RC2",
    "MD5",
    "SHA1",
    "SHA",
    "PSK",
    "kPSK",
    "SRP",
    "IDEA",
    "SEED",
    "CAMELLIA",
    "ARIA",
    "DSS",
    "aDSS",
    "DH",
    "DHE",
    "EDH",
    "kDHE",
    "kEDH",
    "ADH",
    "AECDH",
    "kRSA",
    "CBC",
    "AESCCM",
    "AESCCM8",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "COMPLEMENTOFDEFAULT",
    "COMPLEMENTOFALL",
    "kECDH",
    "kECDHr",
    "kECDHe",
    "aECDH",
    "kDH",
    "kDHr",
    "kDHd",
    "aDH",
    "GOST",
    "IDEA",
    "CAMELLIA128",
    "CAMELLIA256",
];

/// What a string names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// In the order of the string.
    pub(crate) suites: Vec<&'static str>,
    /// Suites that it names one by one and that are not there.
    pub(crate) missing: Vec<String>,
}

/// Reads a string.
pub(crate) fn choose(text: &str) -> Choice {
    let mut suites: Vec<&'static str> = Vec::new();
    let mut killed: Vec<&'static str> = Vec::new();
    let mut missing = Vec::new();
    for word in text
        .split([':', ',', ' ', ';'])
        .filter(|word| !word.is_empty())
    {
        let (sign, name) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
            _ => ("", word),
        };
        let name = name.split('@').next().unwrap_or_default();
        if name.is_empty() || name.starts_with("TLS_") {
            // Sorting by strength is our order anyway; suites of TLS 1.3 have no business here.
            continue;
        }
        let Some(named) = named(name) else {
            if sign.is_empty() {
                missing.push(name.to_owned());
            }
            continue;
        };
        let is_named = |suite: &&'static str| named.contains(suite);
        match sign {
            "!" => {
                killed.extend(&named);
                suites.retain(|suite| !is_named(suite));
            }
            "-" => suites.retain(|suite| !is_named(suite)),
            "+" => {
                let (moved, mut rest): (Vec<_>, Vec<_>) =
                    suites.iter().partition(|suite| is_named(suite));
                rest.extend(moved);
                suites = rest;
            }
            _ => {
                let new = named
                    .iter()
                    .filter(|suite| !suites.contains(suite) && !killed.contains(suite));
                let new: Vec<_> = new.copied().collect();
                suites.extend(new);
            }
        }
    }
    Choice { suites, missing }
}

/// The suites that a word stands for, words joined by `+` all at once. `None` for a suite that is not there.
fn named(name: &str) -> Option<Vec<&'static str>> {
    if let Some(suite) = ALL.iter().find(|suite| **suite == name) {
        return Some(vec![suite]);
    }
    let mut left = ALL.to_vec();
    for word in name.split('+') {
        let fits: &dyn Fn(&str) -> bool = match word {
            "ALL" | "DEFAULT" | "HIGH" | "ECDH" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH"
            | "AEAD" | "TLSv1.2" => &|_| true,
            "FIPS" | "FIPS140-2" => &|suite| !suite.contains("CHACHA20"),
            "AES" | "AESGCM" => &|suite| suite.contains("AES"),
            "AES128" => &|suite| suite.contains("AES128"),
            "AES256" => &|suite| suite.contains("AES256"),
            "SHA256" => &|suite| suite.ends_with("SHA256"),
            "SHA384" => &|suite| suite.ends_with("SHA384"),
            "CHACHA20" => &|suite| suite.contains("CHACHA20"),
            "RSA" | "aRSA" => &|suite| suite.contains("-RSA-"),
            "ECDSA" | "aECDSA" => &|suite| suite.contains("-ECDSA-"),
            _ if OTHERS.contains(&word) => &|_| false,
            _ => return None,
        };
        left.retain(|suite| fits(suite));
    }
    Some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &str) {
        let Choice { suites, missing } = choose(text);
        let short: Vec<_> = suites
            .iter()
            .map(|suite| {
                suite
                    .trim_start_matches("ECDHE-")
                    .replace("-GCM-SHA256", "")
                    .replace("-GCM-SHA384", "")
            })
            .collect();
        let got = format!("{} | {}", short.join(" "), missing.join(" "));
        assert_eq!(got.trim(), want, "{text}");
    }

    const EVERY: &str = "ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128 ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 |";

    #[test]
    fn strings_of_the_field() {
        check("HIGH:!aNULL:!MD5", EVERY);
        check("DEFAULT@SECLEVEL=1:!RC4:@STRENGTH", EVERY);
        check(
            "ALL:!ECDSA",
            "RSA-AES256 RSA-AES128 RSA-CHACHA20-POLY1305 |",
        );
        check(
            "EECDH+AESGCM:EDH+AESGCM",
            "ECDSA-AES256 RSA-AES256 ECDSA-AES128 RSA-AES128 |",
        );
        check(
            "ECDHE+CHACHA20:ECDHE+AES128",
            "ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 ECDSA-AES128 RSA-AES128 |",
        );
        check(
            "EECDH+ECDSA+AESGCM EECDH+aRSA+AESGCM",
            "ECDSA-AES256 ECDSA-AES128 RSA-AES256 RSA-AES128 |",
        );
        check(
            "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256",
            "RSA-AES128 |",
        );
        // certbot's, and Mozilla's intermediate.
        check(
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
             ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
            "ECDSA-AES128 RSA-AES128 ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 | DHE-RSA-AES128-GCM-SHA256 DHE-RSA-AES256-GCM-SHA384",
        );
        check(
            "ECDHE-RSA-AES128-SHA:AES128-SHA",
            "| ECDHE-RSA-AES128-SHA AES128-SHA",
        );
    }

    #[test]
    fn signs() {
        check(
            "ALL:-AES128:ECDHE-RSA-AES128-GCM-SHA256:!AES256",
            "ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 RSA-AES128 |",
        );
        check(
            "ALL:+AES256:!ECDSA",
            "RSA-AES128 RSA-CHACHA20-POLY1305 RSA-AES256 |",
        );
        check(
            "!AES128:ALL",
            "ECDSA-AES256 RSA-AES256 ECDSA-CHACHA20-POLY1305 RSA-CHACHA20-POLY1305 |",
        );
        check("kRSA:!DH", "|");
    }
}
