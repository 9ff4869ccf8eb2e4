//! Decimal numbers as they are written, with all of their digits.

/// A number as it is written: `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// Whether it has a minus.
    pub is_negative: bool,
    /// All digits, without leading and trailing zeros of the text unless they count.
    pub digits: u128,
    /// How many digits are written, without leading zeros.
    pub written: u32,
    /// Power of ten of the last digit.
    pub exponent: i32,
    /// Whether it is written with an exponent.
    pub has_exponent: bool,
}

impl Decimal {
    /// Reads digits with an optional sign, point and exponent; none when it is something else, has
    /// more than 38 digits that count, or an exponent that no number of ours has.
    pub fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let power = match power {
            Some(power) => {
                let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
                if digits.is_empty() || digits.len() > 6 || !is_digits(digits) {
                    return None;
                }
                power.parse::<i32>().ok()?
            }
            None => 0,
        };
        let mut digits: u128 = 0;
        let mut written = 0;
        let mut zeros = 0;
        let mut exponent = power;
        for (at, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let is_fraction = at >= whole.len();
            exponent -= i32::from(is_fraction);
            if digit == b'0' {
                zeros += u32::from(digits > 0);
                written += u32::from(digits > 0);
                continue;
            }
            for _ in 0..zeros {
                digits = digits.checked_mul(10)?;
            }
            zeros = 0;
            digits = digits
                .checked_mul(10)?
                .checked_add(u128::from(digit - b'0'))?;
            written += 1;
        }
        exponent += i32::try_from(zeros).ok()?;
        Some(Self {
            is_negative,
            digits,
            written,
            exponent,
            has_exponent: rest.len() != mantissa.len(),
        })
    }

    /// This number times a whole one, rounded down; none when it is out of range.
    pub fn times(&self, factor: i128) -> Option<i128> {
        let digits = i128::try_from(self.digits).ok()?;
        let signed = if self.is_negative { -digits } else { digits };
        if signed == 0 {
            return Some(0);
        }
        let scaled = signed.checked_mul(factor)?;
        let power = 10_i128.checked_pow(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            scaled.checked_mul(power?)
        } else {
            // A divisor out of range leaves nothing of the number.
            Some(power.map_or(scaled.signum().min(0), |power| scaled.div_euclid(power)))
        }
    }

    /// The number, when it is a whole one of 64 bits.
    pub fn whole(&self) -> Option<i64> {
        if self.digits == 0 {
            return Some(0);
        }
        // Zeros at the end are in the exponent, so a negative one is a fraction.
        if self.exponent < 0 {
            return None;
        }
        i64::try_from(self.times(1)?).ok()
    }

    /// Power of ten of the last digit that is written, zeros among them.
    pub fn resolution(&self) -> i32 {
        let kept = self.digits.checked_ilog10().map_or(0, |power| power + 1);
        self.exponent - i32::try_from(self.written.saturating_sub(kept)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn decimals_keep_all_digits() {
        let whole = |text: &str| Decimal::parse(text).and_then(|number| number.whole());
        assert_eq!(whole("3.0"), Some(3));
        assert_eq!(whole("3e2"), Some(300));
        assert_eq!(whole("-0.0"), Some(0));
        assert_eq!(
            whole("1.403636579758555392E18"),
            Some(1_403_636_579_758_555_392)
        );
        assert_eq!(whole("9223372036854775807"), Some(i64::MAX));
        assert_eq!(whole("9223372036854775808"), None);
        assert_eq!(whole("3.5"), None);
        assert_eq!(whole("1e400"), None);
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "0x10",
            "1_0",
            "inf",
            "1.2.3",
            "1e9999999",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        let resolution = |text: &str| Decimal::parse(text).map(|number| number.resolution());
        assert_eq!(resolution("1.73234e+09"), Some(4));
        assert_eq!(resolution("1.7698464E9"), Some(2));
        assert_eq!(resolution("1.769846400E9"), Some(0));
        assert_eq!(resolution("1769846400"), Some(0));
        assert_eq!(resolution("0.250"), Some(-3));
        let times = |text: &str, factor| Decimal::parse(text).and_then(|it| it.times(factor));
        assert_eq!(
            times("1769846400.1234567", 1_000_000),
            Some(1_769_846_400_123_456)
        );
        assert_eq!(times("-0.5", 1), Some(-1));
        assert_eq!(times("1e-300", 5), Some(0));
    }
}
