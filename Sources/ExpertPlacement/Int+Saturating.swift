extension Int {
    /// The sum of two numbers that are not negative, or the largest number when that is less.
    func saturatingSum(_ other: Int) -> Int {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    /// The product of two numbers that are not negative, or the largest number when that is less.
    func saturatingProduct(_ other: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }

    /// `bytes` from 0 as far as they can be counted: 10^18, more than there are anywhere, stands for whatever is beyond,
    /// or no number.
    init(bytes: Double) {
        self = bytes < 1e18 ? Int(Swift.max(0, bytes)) : 1_000_000_000_000_000_000
    }
}
