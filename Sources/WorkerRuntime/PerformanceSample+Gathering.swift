import ExpertPlacement
import Foundation
import MessagePassing

extension Communicator {
    /// Collects the ranks' samples on all of them, rank by rank. Collective.
    func gather(_ sample: PerformanceSample) throws -> [PerformanceSample] {
        let own = try agree { try Array(JSONEncoder().encode(sample)) }
        var counts = [Int](repeating: 0, count: size)
        var countSpan = counts.mutableSpan
        try allGather([own.count].span, counts: [Int](repeating: 1, count: size), into: &countSpan)
        var bytes = [UInt8](repeating: 0, count: counts.reduce(0, +))
        var span = bytes.mutableSpan
        try allGather(own.span, counts: counts, into: &span)
        var start = 0
        return try agree {
            try counts.map { count in
                defer { start += count }
                return try JSONDecoder().decode(PerformanceSample.self, from: Data(bytes[start..<start + count]))
            }
        }
    }
}
