import ExpertPlacement
import Listings

/// A plan made without a coordinator, beside whole experts placed in turn (`expert-parallel`), for people to read.
struct OfflineReport {
    /// Rows of whole experts that ranks compute in a step; a rank with half an expert counts half its rows.
    private struct Loads {
        /// [layer][rank].
        let layers: [[Double]]

        init(_ plan: PlacementPlan, loads: [[Double]]) {
            layers = zip(plan.layers, loads).map { layer, loads in
                var ranks = RankWork(worldSize: plan.worldSize)
                ranks.add(layer, loads: zip(layer.experts, loads).map { $1 / Double($0.width) })
                return ranks.work
            }
        }

        func sum(of rank: Int) -> Double { layers.reduce(0) { $0 + $1[rank] } }

        /// Mean over largest.
        func balance(of layer: Int) -> Double {
            let largest = layers[layer].max() ?? 0
            return largest > 0 ? layers[layer].reduce(0, +) / Double(layers[layer].count) / largest : 1
        }

        var balance: Double {
            layers.indices.reduce(0) { $0 + balance(of: $1) } / Double(max(1, layers.count))
        }

        func busiest(of layer: Int) -> Int {
            layers[layer].indices.max { layers[layer][$0] < layers[layer][$1] } ?? 0
        }
    }

    private let question: OfflinePlan
    private let proposal: PlanProposal
    private let planned: Loads
    /// Nil when whole experts cannot be placed in turn.
    private let expertParallel: Loads?

    init(_ question: OfflinePlan, _ proposal: PlanProposal) {
        self.question = question
        self.proposal = proposal
        planned = Loads(proposal.plan, loads: question.loads)
        // Without limits: this is what to compare with, whether it fits or not.
        let cluster = Cluster(nodes: question.cluster.nodes)
        let rule = StaticAllocator(.expertParallel)
        let plan = try? rule.allocateExperts(current: nil, model: question.model, cluster: cluster, step: 0)
        expertParallel = plan.map { Loads($0, loads: question.loads) }
    }

    var tables: [Table] {
        let plan = PlacementTable.make(proposal.plan, ownership: question.cluster.ownership)
        return [heading, plan, layerTable, rankTable]
    }

    private var heading: Table {
        let nodes = Set(question.cluster.nodes).count
        let model = question.model
        var entries = [
            ("Allocator", question.allocator),
            (
                "Model",
                "\(Readable.shape(model.layers.map(\.count))) of \(Readable.sizes(model.layers.flatMap { $0 })) neurons, "
                    + "hidden size \(model.hiddenSize)"
            ),
            ("Ranks", "\(question.cluster.worldSize) on \(nodes) node\(nodes == 1 ? "" : "s")"),
            (
                "Balance of loads",
                "\(Readable.balance(planned.balance)); expert-parallel: \(Readable.balance(expertParallel?.balance))"
            ),
        ]
        if question.current != nil {
            entries.append(("From", "the plan in --current"))
            entries += ProposalReport.lines(proposal.prediction)
        } else {
            let prediction = proposal.prediction
            entries.append(
                (
                    "Experts' time",
                    "\(Readable.seconds(prediction.secondsAfter)) a step; expert-parallel: "
                        + Readable.seconds(prediction.secondsBefore)
                ))
        }
        return .details(entries)
    }

    private var layerTable: Table {
        var table = Table([
            ("LAYER", .left), ("LOAD", .right), ("BALANCE", .right), ("BUSIEST", .right), ("EXPERT-PARALLEL", .right),
            ("BUSIEST", .right),
        ])
        for (layer, loads) in question.loads.enumerated() {
            table.add([
                "\(layer)", Readable.load(loads.reduce(0, +)), Readable.balance(planned.balance(of: layer)),
                "rank \(planned.busiest(of: layer))", Readable.balance(expertParallel?.balance(of: layer)),
                expertParallel.map { "rank \($0.busiest(of: layer))" } ?? Readable.nothing,
            ])
        }
        return table
    }

    private var rankTable: Table {
        var table = Table([
            ("RANK", .right), ("NODE", .right), ("EXPERTS", .right), ("WEIGHTS", .right), ("STATE", .right),
            ("LOAD", .right), ("OF MEAN", .right), ("EXPERT-PARALLEL", .right), ("OF MEAN", .right),
        ])
        let total = question.loads.reduce(0) { $0 + $1.reduce(0, +) }
        let mean = total / Double(question.cluster.worldSize)
        let holdings = RankHoldings.all(
            proposal.plan, hiddenSize: question.model.hiddenSize, ownership: question.cluster.ownership)
        for rank in holdings {
            let (load, other) = (planned.sum(of: rank.rank), expertParallel?.sum(of: rank.rank))
            table.add([
                "\(rank.rank)", "\(rank.node)", "\(rank.residentExperts)", Readable.bytes(rank.weightBytes),
                Readable.bytes(rank.stateBytes), Readable.load(load), Readable.part(load, of: mean),
                Readable.load(other), Readable.part(other, of: mean),
            ])
        }
        return table
    }
}
