//! Quantities against tables and against an exact rational written independently.

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    Quantity::parse(text).unwrap().to_string()
}

#[test]
fn canonical_form_is_upstreams() {
    let table = [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("1.", "1"),
        ("100m", "100m"),
        ("1000", "1k"),
        ("100000", "100k"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1023Ki", "1023Ki"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("1e-3", "1e-3"),
        ("12e5", "1200e3"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("-5Mi", "-5Mi"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775807"),
        ("1e99", "9223372036854775807e0"),
        ("8Ei", "9223372036854775807"),
        ("0.1Ki", "102400m"),
    ];
    for (text, expect) in table {
        let expect = expect.trim_end_matches("e0");
        assert_eq!(canonical(text), expect, "{text}");
    }
}

#[test]
fn malformed_texts_are_named_errors() {
    let table = [
        ("", QuantityError::Form),
        (" 1", QuantityError::Form),
        ("1 ", QuantityError::Form),
        ("a", QuantityError::Form),
        ("-", QuantityError::Form),
        ("1x", QuantityError::Form),
        ("1.2.3", QuantityError::Number),
        (".", QuantityError::Number),
        ("1K", QuantityError::Suffix),
        ("1ki", QuantityError::Suffix),
        ("1e", QuantityError::Suffix),
        ("1mm", QuantityError::Suffix),
        ("1i", QuantityError::Suffix),
        ("1Mi5", QuantityError::Suffix),
    ];
    for (text, expect) in table {
        assert_eq!(Quantity::parse(text), Err(expect), "{text}");
    }
}

#[test]
fn millis_and_units_round_up() {
    let of = |text: &str| Quantity::parse(text).unwrap();
    assert_eq!(of("100m").millis(), 100);
    assert_eq!(of("1").millis(), 1000);
    assert_eq!(of("1u").millis(), 1);
    assert_eq!(of("1.5").units(), 2);
    assert_eq!(of("-1.5").units(), -2);
    assert_eq!(of("1Gi").bytes(), 1 << 30);
    assert_eq!(of("1.0001m").rounded_to_millis().to_string(), "2m");
    assert_eq!(of("1E").millis(), i64::MAX);
}

#[test]
fn sums_are_exact_and_keep_the_first_notation() {
    let of = |text: &str| Quantity::parse(text).unwrap();
    assert_eq!((of("0.1") + of("0.2")).to_string(), "300m");
    assert_eq!((of("1Gi") + of("1Gi")).to_string(), "2Gi");
    assert_eq!((of("0") + of("1Gi")).to_string(), "1Gi");
    assert_eq!((of("1Gi") - of("1Gi")).to_string(), "0");
    assert_eq!(["100m", "1", "2.5"].into_iter().map(of).sum::<Quantity>().to_string(), "3600m");
    assert!(of("1000m") == of("1") && of("1Ki") > of("1k") && of("-1") < Quantity::ZERO);
}

/// Value of mantissa/10^decimals * factor as the fraction (numerator, denominator); small enough for i128.
fn rational(mantissa: i64, decimals: u32, suffix: &str) -> (i128, i128) {
    let (up, down): (i128, i128) = match suffix {
        "m" => (1, 1000),
        "" => (1, 1),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "Ki" => (1024, 1),
        "Mi" => (1024 * 1024, 1),
        "e3" => (1000, 1),
        other => unreachable!("{other}"),
    };
    (i128::from(mantissa) * up, 10_i128.pow(decimals) * down)
}

fn written() -> impl Strategy<Value = (String, (i128, i128))> {
    let suffix = prop::sample::select(vec!["m", "", "k", "M", "Ki", "Mi", "e3"]);
    (-1_000_000_i64..1_000_000, 0_u32..4, suffix).prop_map(|(mantissa, decimals, suffix)| {
        let sign = if mantissa < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", mantissa.unsigned_abs(), width = decimals as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals as usize);
        let point = if decimals > 0 { "." } else { "" };
        (format!("{sign}{whole}{point}{fraction}{suffix}"), rational(mantissa, decimals, suffix))
    })
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_same_amount((text, _) in written()) {
        let parsed = Quantity::parse(&text).unwrap();
        let printed = parsed.to_string();
        let again = Quantity::parse(&printed).unwrap();
        prop_assert_eq!(parsed, again);
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn comparing_agrees_with_exact_fractions((a, (an, ad)) in written(), (b, (bn, bd)) in written()) {
        let ours = Quantity::parse(&a).unwrap().cmp(&Quantity::parse(&b).unwrap());
        prop_assert_eq!(ours, (an * bd).cmp(&(bn * ad)));
    }

    #[test]
    fn adding_agrees_with_exact_fractions((a, (an, ad)) in written(), (b, (bn, bd)) in written()) {
        let sum = Quantity::parse(&a).unwrap() + Quantity::parse(&b).unwrap();
        prop_assert_eq!(sum.nanos() * ad * bd, (an * bd + bn * ad) * 1_000_000_000);
        let back = sum - Quantity::parse(&b).unwrap();
        prop_assert_eq!(back, Quantity::parse(&a).unwrap());
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(text in "[-+0-9.eEinumkKMGTP ]{0,40}") {
        if let Ok(quantity) = Quantity::parse(&text) {
            let again = Quantity::parse(&quantity.to_string()).unwrap();
            prop_assert_eq!(quantity, again);
        }
    }
}
