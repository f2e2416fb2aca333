/// Options of an allocator by name, as they stand in a configuration: `window=10,caution=1`.
public struct AllocatorOptions: Hashable, Sendable {
    public var values: [String: String]

    public init(_ values: [String: String] = [:]) {
        self.values = values
    }

    /// Reads `KEY=VALUE,KEY=VALUE`.
    /// - Throws: `PlacementError.invalidOption` when a part is no such pair or a key stands twice.
    init(parsing text: Substring, of allocator: String) throws(PlacementError) {
        values = [:]
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2, !pair[0].isEmpty else {
                throw .invalidOption("\"\(part)\" is no option of allocator \(allocator): write KEY=VALUE")
            }
            guard values.updateValue(String(pair[1]), forKey: String(pair[0])) == nil else {
                throw .invalidOption("option \(pair[0]) of allocator \(allocator) stands there twice")
            }
        }
    }

    /// - Throws: `PlacementError.invalidOption` naming the known options when there is another one.
    func checkNames(known: [String], allocator: String) throws(PlacementError) {
        guard let unknown = values.keys.sorted().first(where: { !known.contains($0) }) else { return }
        let list = known.isEmpty ? "it takes none" : "known are \(known.joined(separator: ", "))"
        throw .invalidOption("allocator \(allocator) has no option \"\(unknown)\"; \(list)")
    }

    func number(_ name: String, default value: Double, in range: ClosedRange<Double>) throws(PlacementError) -> Double {
        guard let text = values[name] else { return value }
        guard let number = Double(text), range.contains(number) else {
            throw .invalidOption(
                "option \(name) is \"\(text)\", but must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(PlacementError) -> Int? {
        guard let text = values[name] else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw .invalidOption(
                "option \(name) is \"\(text)\", but must be a whole number from \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        return number
    }

    func choice<Choice: RawRepresentable & CaseIterable>(
        _ name: String, default value: Choice
    ) throws(PlacementError) -> Choice where Choice.RawValue == String {
        guard let text = values[name] else { return value }
        guard let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw .invalidOption("option \(name) is \"\(text)\"; known are \(known)")
        }
        return choice
    }
}
