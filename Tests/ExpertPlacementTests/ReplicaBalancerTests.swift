import ExpertPlacement
import Foundation
import Testing

@Suite struct ReplicaBalancerTests {
    private struct Case: Decodable {
        let loads: [Double]
        let replicas: Int
        let groups: Int
        let nodes: Int
        let ranks: Int
        let experts: [Int]
        let counts: [Int]
    }

    /// The example of EPLB's README: two layers, 12 experts, 16 replicas, 4 groups, 2 nodes, 8 ranks.
    @Test func reproducesThePublishedExample() throws {
        let balancer = try ReplicaBalancer(replicas: 16, groups: 4, nodes: 2, ranks: 8)
        #expect(balancer.isHierarchical)
        let first = try balancer.balance([90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86])
        #expect(first.experts == [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1])
        let second = try balancer.balance([20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27])
        #expect(second.experts == [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1])
    }

    /// Decisions of the published Python on seeded loads, ties included; see `Golden/make_eplb_cases.py`.
    @Test func equalsThePublishedProgram() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Golden/eplb-cases.json")
        let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: file))
        #expect(cases.count == 60)
        for (index, known) in cases.enumerated() {
            let balancer = try ReplicaBalancer(
                replicas: known.replicas, groups: known.groups, nodes: known.nodes, ranks: known.ranks)
            let decision = try balancer.balance(known.loads)
            #expect(decision.experts == known.experts, "case \(index)")
            #expect(decision.counts == known.counts, "case \(index)")
            for (expert, count) in decision.counts.enumerated() {
                let indices = zip(decision.experts, decision.replicaIndices).filter { $0.0 == expert }.map(\.1)
                #expect(indices.sorted() == Array(0..<count), "case \(index)")
            }
        }
    }

    @Test func refusesWhatDoesNotDivide() throws {
        for (replicas, groups, nodes, ranks) in [
            (16, 1, 1, 3), (16, 4, 2, 1), (0, 1, 1, 1), (4, 0, 1, 2), (4, 1, 0, 2),
        ] {
            #expect(throws: PlacementError.self) {
                _ = try ReplicaBalancer(replicas: replicas, groups: groups, nodes: nodes, ranks: ranks)
            }
        }
        let balancer = try ReplicaBalancer(replicas: 8, groups: 4, nodes: 2, ranks: 4)
        for loads in [[], [Double](repeating: 1, count: 9), [1, 2, 3], [.nan, 1, 1, 1]] {
            #expect(throws: PlacementError.self) { _ = try balancer.balance(loads) }
        }
    }
}
