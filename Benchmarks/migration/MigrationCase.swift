import CMPI
import ExpertParallelism
import ExpertPlacement
import Layers
import MPIMessagePassing
import MessagePassing
import Tensors

/// Two plans of a model's experts, between which they move to and fro.
struct MigrationCase {
    /// How much of it, and how often.
    struct Size {
        var hiddenSize = 1024
        var width = 2816
        var experts = 8
        var layers = 2
        var rounds: Int
        /// nil: as a training run has it.
        var chunkBytes: Int?
    }

    static let names = [
        "every expert to the next rank", "tensor-parallel to expert-parallel", "a third replica, and one fewer",
        "every expert to the next rank, decoupled",
    ]

    private let name: String
    private let size: Size
    private let world: MPICommunicator
    private let plans: [PlacementPlan]
    private let optimizer: MoEOptimizer

    init(_ name: String, _ size: Size, _ world: MPICommunicator) throws {
        self.name = name
        self.size = size
        self.world = world
        plans = try [0, 1].map { try Self.plan(name, size, worldSize: world.size, turn: $0) }
        let context = ExpertParallelContext(communicator: world)
        let model = ModuleList(
            (0..<size.layers).map { _ in
                SparseMoEBlock(
                    gate: Router(hiddenSize: size.hiddenSize, expertCount: size.experts, expertsPerToken: 1),
                    experts: LocalExperts(
                        hiddenSize: size.hiddenSize, widths: [Int](repeating: size.width, count: size.experts)))
            })
        try parallelizeExperts(
            in: model, matching: #"\d+\.experts"#, allocator: StaticAllocator(.replicated),
            dispatcher: RandomDispatcher(seed: 1),
            configuration: ParallelConfiguration(
                layers: size.layers, expertsPerLayer: .uniform(size.experts), context: context, plan: plans[0]))
        optimizer = MoEOptimizer(
            model: model, context: context, ownership: name.hasSuffix("decoupled") ? .decoupled : .colocated)
    }

    /// The plan before (turn 0) or after (turn 1).
    private static func plan(_ name: String, _ size: Size, worldSize: Int, turn: Int) throws -> PlacementPlan {
        func mesh(_ expert: Int) throws -> DeviceMesh {
            let home = expert % worldSize
            switch (name, turn) {
            case ("tensor-parallel to expert-parallel", 0):
                return try DeviceMesh(dataParallel: 1, tensorParallel: worldSize, ranks: Array(0..<worldSize))
            case ("a third replica, and one fewer", _) where expert % 2 == turn:
                let replicas = min(3, worldSize)
                return try DeviceMesh(
                    dataParallel: replicas, tensorParallel: 1, ranks: (0..<replicas).map { (home + $0) % worldSize })
            case ("every expert to the next rank", 1), ("every expert to the next rank, decoupled", 1):
                return try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [(home + 1) % worldSize])
            default: return try DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [home])
            }
        }
        let experts = try (0..<size.experts).map { try ExpertPlacement(width: size.width, mesh: mesh($0)) }
        return try PlacementPlan(
            worldSize: worldSize,
            layers: [LayerPlacement](repeating: LayerPlacement(experts: experts), count: size.layers))
    }

    /// Migrations and exchanges by turns, layer by layer as a migration goes. Collective.
    func measure() throws -> MigrationFigures {
        let chunk = size.chunkBytes ?? MoEOptimizer.defaultChunkBytes
        var first = 0.0
        var (exchanges, transfers, checksums) = ([Double](), [Double](), [Double]())
        // There and back once before it counts.
        for round in 0..<2 + size.rounds {
            let next = plans[(round + 1) % 2]
            let migration = try optimizer.migration(to: next)
            let exchange = try migration.layers.reduce(0) { $0 + (try alltoallv(Traffic($1, size, world))) }
            try world.barrier()
            let report = try optimizer.apply(next, chunkBytes: chunk)
            let (transfer, checksum) = (try slowest(report.transferSeconds), try slowest(report.checksumSeconds))
            if round == 0 { first = transfer }
            if round < 2 { continue }
            exchanges.append(try slowest(exchange))
            transfers.append(transfer)
            checksums.append(checksum)
        }
        return MigrationFigures(
            name: name,
            bytes: try optimizer.migration(to: plans[size.rounds % 2 == 0 ? 1 : 0]).bytes(
                hiddenSize: size.hiddenSize),
            exchangeSeconds: exchanges, transferSeconds: transfers, checksumSeconds: checksums, firstSeconds: first)
    }

    private func slowest(_ seconds: Double) throws -> Double {
        var values = [seconds]
        var span = values.mutableSpan
        try world.allReduce(&span, .maximum)
        return values[0]
    }

    /// Seconds of one `MPI_Alltoallv` from and to memory that is in use: the second of two calls.
    private func alltoallv(_ traffic: Traffic) throws -> Double {
        let sent = Tensor(rows: 1, columns: traffic.sendCounts.reduce(0) { $0 + Int($1) }, repeating: 1)
        let received = Tensor(rows: 1, columns: traffic.receiveCounts.reduce(0) { $0 + Int($1) })
        var seconds = 0.0
        for _ in 0..<2 {
            try world.barrier()
            seconds =
                try ContinuousClock().measure {
                    var target = received.mutableSpan
                    let code = sent.span.withUnsafeBufferPointer { source in
                        target.withUnsafeMutableBufferPointer { target in
                            MPI_Alltoallv(
                                source.baseAddress, traffic.sendCounts, Traffic.offsets(traffic.sendCounts),
                                cmpi_float(),
                                target.baseAddress, traffic.receiveCounts, Traffic.offsets(traffic.receiveCounts),
                                cmpi_float(), cmpi_comm_world())
                        }
                    }
                    guard code == cmpi_success() else {
                        throw BenchmarkError(description: "MPI_Alltoallv failed with code \(code)")
                    }
                } / .seconds(1)
        }
        return seconds
    }
}

/// Entries that one rank sends to and gets from each rank when a layer migrates.
private struct Traffic {
    var sendCounts: [Int32]
    var receiveCounts: [Int32]

    init(_ migration: LayerMigration, _ size: MigrationCase.Size, _ world: MPICommunicator) {
        sendCounts = [Int32](repeating: 0, count: world.size)
        receiveCounts = sendCounts
        for (transfers, parts) in [(migration.weights, 1), (migration.moments, 2)] {
            for transfer in transfers {
                let count = Int32(transfer.neurons.count * parts * 3 * size.hiddenSize)
                if transfer.source == world.rank { sendCounts[transfer.destination] += count }
                if transfer.destination == world.rank { receiveCounts[transfer.source] += count }
            }
        }
    }

    static func offsets(_ counts: [Int32]) -> [Int32] {
        var sum: Int32 = 0
        return counts.map { count in
            defer { sum += count }
            return sum
        }
    }
}
