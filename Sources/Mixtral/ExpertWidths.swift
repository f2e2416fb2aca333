/// F of each expert. More than one width is this project's own: transformers loads no such model.
public enum ExpertWidths: Sendable, Equatable {
    case uniform(Int)
    /// Of all experts of each layer that has some.
    case perLayer([Int])
    /// [layer][expert], of layers that have experts.
    case perExpert([[Int]])

    /// The same widths with as few numbers as say it.
    var simplified: ExpertWidths {
        switch self {
        case .uniform: return self
        case .perLayer(let widths):
            guard let first = widths.first, widths.allSatisfy({ $0 == first }) else { return self }
            return .uniform(first)
        case .perExpert(let widths):
            guard !widths.isEmpty, widths.allSatisfy({ row in !row.isEmpty && row.allSatisfy { $0 == row[0] } }) else {
                return self
            }
            return ExpertWidths.perLayer(widths.map { $0[0] }).simplified
        }
    }

    /// F of one expert of one layer of those that have experts.
    public subscript(layer layer: Int, expert expert: Int) -> Int {
        switch self {
        case .uniform(let width): width
        case .perLayer(let widths): widths[layer]
        case .perExpert(let widths): widths[layer][expert]
        }
    }

    /// All that occur.
    public var distinct: Set<Int> {
        switch self {
        case .uniform(let width): [width]
        case .perLayer(let widths): Set(widths)
        case .perExpert(let widths): Set(widths.joined())
        }
    }
}

extension ExpertWidths {
    /// A number; a list of one for each of `layers` layers; or a list of lists of one for each of `experts` experts.
    init(
        _ fields: ConfigurationFields, _ name: String, layers: Int, experts: Int
    ) throws(MixtralConfigurationError) {
        guard case .array(let rows) = fields[name] else {
            self = .uniform(try fields.integer(name, 1...MixtralLimits.intermediateSize))
            return
        }
        let expected =
            "a whole number from 1 to \(MixtralLimits.intermediateSize), or a list with one, or with a list of one for each of "
            + "\(experts) experts, for each of the \(layers) layers that have experts"
        func widths(_ values: [ConfigurationValue]) -> [Int]? {
            let widths = values.compactMap { value in
                if case .integer(let width) = value, (1...MixtralLimits.intermediateSize).contains(width) {
                    width
                } else {
                    nil
                }
            }
            return widths.count == values.count ? widths : nil
        }
        guard rows.count == layers else { throw fields.unsupported(name, fields[name], expected) }
        if let widths = widths(rows) {
            self = ExpertWidths.perLayer(widths).simplified
            return
        }
        let matrix = rows.compactMap { row -> [Int]? in
            guard case .array(let row) = row, row.count == experts else { return nil }
            return widths(row)
        }
        guard matrix.count == layers else { throw fields.unsupported(name, fields[name], expected) }
        self = ExpertWidths.perExpert(matrix).simplified
    }

    /// As `config.json` has it.
    var value: ConfigurationValue {
        switch self {
        case .uniform(let width): .integer(width)
        case .perLayer(let widths): .array(widths.map(ConfigurationValue.integer))
        case .perExpert(let widths): .array(widths.map { .array($0.map(ConfigurationValue.integer)) })
        }
    }
}
