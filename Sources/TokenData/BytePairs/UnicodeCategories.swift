/// General categories of Unicode scalars, of the version that the `tokenizers` package has (`UnicodeTables`); those of Swift's
/// library depend on the toolchain.
enum UnicodeCategories {
    /// In the order of their numbers.
    static let names = [
        "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
        "Sm",
        "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
    ]

    /// Where the category changes, from U+0000 on.
    static let runs: [(start: UInt32, category: UInt8)] = UnicodeTables.categories()

    static let ofASCII: [UInt8] = (UInt32(0)..<128).map(category(of:))

    static func name(of scalar: Unicode.Scalar) -> String { names[Int(category(of: scalar.value))] }

    private static func category(of value: UInt32) -> UInt8 {
        var (low, high) = (0, runs.count)
        while low + 1 < high {
            let middle = (low + high) / 2
            if runs[middle].start <= value { low = middle } else { high = middle }
        }
        return runs[low].category
    }
}
