import ArgumentParser
import ControlProtocol
import ExpertPlacement

/// Experts as `LAYER:EXPERT`, where either may be a list of numbers and ranges: `0-3:1,5`.
struct ExpertSelection: ExpressibleByArgument, Sendable {
    let experts: [ExpertID]

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        let limits = Limits.standard
        guard parts.count == 2, let layers = Self.numbers(parts[0], below: limits.layers),
            let experts = Self.numbers(parts[1], below: limits.expertsPerLayer)
        else { return nil }
        self.experts = layers.flatMap { layer in experts.map { ExpertID(layer: layer, expert: $0) } }
    }

    private static func numbers(_ text: Substring, below limit: Int) -> [Int]? {
        var numbers = Set<Int>()
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let bounds = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(bounds.count), let first = bounds[0], let last = bounds[bounds.count - 1],
                0 <= first, first <= last, last < limit
            else { return nil }
            numbers.formUnion(first...last)
        }
        return numbers.sorted()
    }
}
