//! Tests of the settings' output: for the server, for logs, and in errors.

use proptest::prelude::*;

use super::*;

#[test]
fn no_output_contains_a_password() {
    let environment = variables(&[("PGPASSWORD", "hunter2"), ("PGSSLPASSWORD", "hunter3")]);
    let settings = parse_in("host=db user=me dbname=x sslcert=c sslkey=k", &environment).unwrap();
    let attempt = &settings.attempts()[0];
    for shown in [
        format!("{environment:?}"),
        format!("{settings:?}"),
        format!("{attempt:?} {attempt} {:?}", attempt.config(&settings)),
        settings.describe(),
    ] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
    assert_eq!(attempt.config(&settings).get_password(), Some("hunter2".as_bytes()));
}

#[test]
fn unknown_names_are_sent_to_the_server() {
    let settings = parsed(r"options='-c geqo=off' search_path='a, b\\\\c' app.user=x");
    assert_eq!(settings.options.as_deref(), Some("-c geqo=off"));
    let parameters = [("app.user", "x"), ("search_path", r"a, b\\c")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(settings.run_time_parameters, parameters);
    let expected = r"-c geqo=off -c app.user=x -c search_path=a,\ b\\\\c";
    assert_eq!(settings.startup_options().as_deref(), Some(expected));
}

#[test]
fn an_unsupported_setting_is_an_error() {
    for (text, message) in [
        ("sslcrl=x", "sslcrl in the connection string is not supported by this program: remove it"),
        (
            "gssencmode=require",
            "gssencmode in the connection string is not supported by this program, except with: disable, prefer",
        ),
        (
            "ssl_mode=require",
            "ssl_mode in the connection string is not a connection setting; did you mean sslmode?",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
    assert!(matches!(parse("user='a\0b'"), Err(ConnectionStringError::Nul { .. })));
}

#[test]
fn a_description_is_one_line_without_special_characters() {
    let describe = |text: &str| parse_in(text, &Environment::default()).unwrap().describe();
    assert_eq!(
        describe("host=a,::1,/run/pg port=1,2,3 user='me\n@x' dbname='a b' sslmode=require"),
        "postgres://me%0A%40x@a:1,[::1]:2,%2Frun%2Fpg:3/a%20b (sslmode=require)"
    );
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in any::<String>()) {
        let _ = parse_in(&text, &Environment::default());
        let _ = parse_in(&format!("postgres://{text}"), &Environment::default());
        let _ = parse(&text);
    }

    #[test]
    fn no_url_like_text_causes_a_panic(text in "[a-z:/@?&=%,'\\[\\]\\\\ 0-9]{0,40}") {
        let _ = parse_in(&text, &Environment::default());
        let _ = parse_in(&format!("postgresql://{text}"), &Environment::default());
    }

    #[test]
    fn no_error_repeats_a_password(
        word in "hunter2[a-zA-Z0-9 :/@?#&=%,']{0,12}",
        rest in "(sslmode=x| port=x|&sslcrl=x| ssl_mode=x)?",
    ) {
        for text in [
            format!("postgres://me:{word}@db/x?{rest}"),
            format!("host=db user=me dbname=x password={word}{rest}"),
            format!("host=db user=me dbname=x password='{word}{rest}"),
            format!("mysql://me:{word}@db/x{rest}"),
        ] {
            match parse_in(&text, &Environment::default()) {
                Ok(settings) => {
                    let shown = format!("{} {:?}", settings.describe(), settings.ssl);
                    prop_assert!(!shown.contains("hunter2"), "{text}: {shown}");
                }
                Err(error) => {
                    let shown = format!("{error} {error:?}");
                    prop_assert!(!shown.contains("hunter2"), "{text}: {shown}");
                }
            }
        }
    }

    #[test]
    fn the_server_splits_options_as_intended(value in "[ -~\t\n\u{b}]{0,30}") {
        let settings = ConnectionSettings {
            run_time_parameters: vec![("a".to_owned(), value.clone()), ("b".to_owned(), "x".to_owned())],
            ..parsed("")
        };
        let words = split_as_the_server(&settings.startup_options().unwrap());
        prop_assert_eq!(words, ["-c".to_owned(), format!("a={value}"), "-c".to_owned(), "b=x".to_owned()]);
    }
}

/// Splits a command line like the server: at white space, with the backslash as escape character.
fn split_as_the_server(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => words.extend(word.take()),
            '\\' => word.get_or_insert_with(String::new).extend(characters.next()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}
