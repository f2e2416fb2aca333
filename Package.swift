// swift-tools-version: 6.2
import PackageDescription

/// The commit that is built, for coordinators to tell; empty outside of a repository.
let sourceCommit = Context.gitInformation?.currentCommit ?? ""

let package = Package(
    name: "moe",
    products: [
        .library(
            name: "ExpertParallelism",
            targets: ["ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing", "Randomness", "Tensors"]),
        .library(name: "ExpertPlacement", targets: ["ExpertPlacement"]),
        // Apart, so that who needs no MPI links none.
        .library(name: "MPIMessagePassing", targets: ["MPIMessagePassing"]),
        .executable(name: "moe-coordinator", targets: ["moe-coordinator"]),
        .executable(name: "moe-worker", targets: ["moe-worker"]),
        .executable(name: "moe-ctl", targets: ["moe-ctl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // Before 1.0 any minor version may break what uses it.
        .package(url: "https://github.com/swhitty/FlyingFox", .upToNextMinor(from: "0.27.1")),
    ],
    targets: [
        // C libraries
        .systemLibrary(
            name: "CMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev", "openmpi-bin"])]),
        .systemLibrary(name: "CGlibc"),
        .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CVectors"),
        .target(name: "CBuildInformation", cSettings: [.define("MOE_SOURCE_COMMIT", to: "\"\(sourceCommit)\"")]),
        // The version of all programs.
        .target(name: "BuildInformation", dependencies: ["CBuildInformation"]),

        // Files and standard output: what is written is there, or an error says why not
        .target(name: "Files"),

        // Ranks and messages between them
        .target(name: "MessagePassing"),
        .target(name: "MPIMessagePassing", dependencies: ["CMPI", "MessagePassing"]),

        // Numerics and the model
        .target(name: "Tensors", dependencies: ["COpenBLAS", "CVectors"]),
        .target(name: "Layers", dependencies: ["Randomness", "Tensors"]),
        .target(name: "Safetensors", dependencies: ["Tensors"]),
        .target(name: "Mixtral", dependencies: ["Layers", "Randomness", "Safetensors", "Tensors"]),
        .target(
            name: "TokenData",
            dependencies: ["Files", "Randomness", .product(name: "HeapModule", package: "swift-collections")]),
        .target(
            name: "Checkpoints",
            dependencies: [
                "ExpertPlacement", "Files", "Layers", "Safetensors", "Tensors",
                .product(name: "Crypto", package: "swift-crypto"),
            ]),

        // Mixtures of experts that are made of dense models.
        .target(name: "Upcycling", dependencies: ["Checkpoints", "Layers", "Mixtral", "Safetensors", "Tensors"]),

        // Random numbers keyed by what they are for
        .target(name: "Randomness"),

        // Placement
        .target(
            name: "ExpertPlacement", dependencies: [.product(name: "HeapModule", package: "swift-collections")]),
        .target(
            name: "ExpertParallelism",
            dependencies: [
                "ExpertPlacement", "Layers", "MessagePassing", "Randomness", "Tensors",
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Control plane
        .target(
            name: "ControlProtocol",
            dependencies: [
                "CGlibc", "ExpertPlacement",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
            ]),
        .target(name: "CoordinatorCore", dependencies: ["ControlProtocol", "ExpertPlacement"]),
        // Files of loads over a run: recorded, generated, and imported from others.
        .target(name: "Traces", dependencies: ["ControlProtocol", "ExpertPlacement", "Files", "Randomness"]),
        // Programs that place experts, which the coordinator's configuration file names.
        .target(
            name: "PlanningPrograms",
            dependencies: [
                "CGlibc", "ControlProtocol", "ExpertPlacement", .product(name: "Yams", package: "Yams"),
            ]),
        // Metrics of swift-metrics in Prometheus' text format
        .target(name: "PrometheusMetrics", dependencies: [.product(name: "CoreMetrics", package: "swift-metrics")]),
        .target(
            name: "CoordinatorService",
            dependencies: [
                "BuildInformation", "ControlProtocol", "CoordinatorCore", "Files", "PlanningPrograms",
                "PrometheusMetrics",
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "FlyingFox", package: "FlyingFox"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ], resources: [.embedInCode("HTTP/Dashboard")]),
        .target(
            name: "Settings",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Yams", package: "Yams"),
            ]),
        // What the programs print for people and for other programs.
        .target(
            name: "Listings",
            dependencies: [
                "ControlProtocol", "ExpertPlacement", "Files",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ]),
        // Files of events that TensorBoard shows.
        .target(name: "TensorBoard"),
        .target(
            name: "StructuredLogs",
            dependencies: [
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),

        // Programs
        .target(
            name: "WorkerRuntime",
            dependencies: [
                "CGlibc", "Checkpoints", "ControlProtocol", "ExpertParallelism", "ExpertPlacement", "Layers",
                "MessagePassing", "Mixtral", "Randomness", "TensorBoard", "Tensors", "TokenData",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "moe-coordinator",
            dependencies: [
                "BuildInformation", "ControlProtocol", "CoordinatorService", "PlanningPrograms", "Settings",
                "StructuredLogs",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "moe-worker",
            dependencies: [
                "BuildInformation", "ExpertParallelism", "ExpertPlacement", "Files", "Layers", "Listings",
                "MPIMessagePassing", "MessagePassing", "Settings", "StructuredLogs", "Tensors", "WorkerRuntime",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .executableTarget(
            name: "moe-ctl",
            dependencies: [
                "BuildInformation", "Checkpoints", "ControlProtocol", "ExpertPlacement", "Files", "Listings", "Mixtral",
                "PlanningPrograms", "Safetensors", "Settings", "TokenData", "Traces", "Upcycling",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ]),

        // Uses of the library, for its documentation.
        .executableTarget(
            name: "parallelize-model",
            dependencies: [
                "ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing", "Randomness", "Tensors",
            ], path: "examples/parallelize-model"),
        .executableTarget(
            name: "custom-allocator", dependencies: ["ExpertPlacement", "Randomness"],
            path: "examples/custom-allocator"),
        .executableTarget(
            name: "custom-dispatcher",
            dependencies: [
                "ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing", "Randomness", "Tensors",
            ], path: "examples/custom-dispatcher"),

        // Makes manual pages of what the programs tell of themselves.
        .executableTarget(name: "manual-pages", dependencies: ["Settings"], path: "deploy/manual"),

        // Measures the planner; Benchmarks/planner.py makes tables of it.
        .executableTarget(
            name: "planner-benchmark", dependencies: ["ExpertPlacement", "Randomness"], path: "Benchmarks/planner"),
        // Measures migrations beside MPI_Alltoallv, under mpirun.
        .executableTarget(
            name: "migration-benchmark",
            dependencies: [
                "CMPI", "ExpertParallelism", "ExpertPlacement", "Layers", "MPIMessagePassing", "MessagePassing",
                "Tensors",
            ], path: "Benchmarks/migration"),

        // Measures a layer of experts beside its matrix products and MPI_Alltoallv, under mpirun.
        .executableTarget(
            name: "layer-benchmark",
            dependencies: [
                "COpenBLAS", "ExpertParallelism", "ExpertPlacement", "Layers", "MPIMessagePassing", "MessagePassing",
                "Randomness", "Tensors",
            ], path: "Benchmarks/layers"),
        // Measures matrix products by the library that is picked beside OpenBLAS.
        .executableTarget(name: "product-benchmark", dependencies: ["Tensors"], path: "Benchmarks/products"),
        // Measures the writing of checkpoints beside that of one large file, under mpirun.
        .executableTarget(
            name: "checkpoint-benchmark",
            dependencies: [
                "Checkpoints", "ExpertParallelism", "ExpertPlacement", "Layers", "MPIMessagePassing", "MessagePassing",
                "Mixtral", "Tensors", "WorkerRuntime",
            ], path: "Benchmarks/checkpoint"),
        // Measures a coordinator under the load of many clients beside a bare server.
        .executableTarget(
            name: "coordinator-benchmark",
            dependencies: [
                "CGlibc", "ControlProtocol", "CoordinatorCore", "CoordinatorService", "ExpertPlacement",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
            ], path: "Benchmarks/coordinator"),

        // Tests mirror targets one to one.
        .target(name: "TestSupport", path: "Tests/TestSupport", exclude: ["read_events.py"]),
        .target(
            name: "CommunicatorConformance", dependencies: ["MessagePassing", "Randomness"],
            path: "Tests/CommunicatorConformance"),
        .target(
            name: "PlacementInvariance",
            dependencies: [
                "ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing", "Mixtral", "Randomness", "Tensors",
            ],
            path: "Tests/PlacementInvariance"),
        .executableTarget(
            name: "mpi-conformance",
            dependencies: [
                "CMPI", "CommunicatorConformance", "ExpertParallelism", "ExpertPlacement", "Layers",
                "MPIMessagePassing", "MessagePassing", "Mixtral", "PlacementInvariance", "Tensors",
            ],
            path: "Tests/mpi-conformance"),
        // Counts what training steps take from malloc and the pool of tensors, under mpirun.
        .target(name: "AllocationCount", path: "Tests/AllocationCount"),
        .executableTarget(
            name: "step-allocations",
            dependencies: [
                "AllocationCount", "ExpertParallelism", "ExpertPlacement", "Layers", "MPIMessagePassing",
                "MessagePassing", "Mixtral", "Tensors", "TokenData", "WorkerRuntime",
            ],
            path: "Tests/step-allocations"),
        .testTarget(name: "BuildInformationTests", dependencies: ["CBuildInformation"]),
        .testTarget(name: "FilesTests", dependencies: ["Files", "TestSupport"]),
        .testTarget(
            name: "MessagePassingTests", dependencies: ["MessagePassing", "CommunicatorConformance", "TestSupport"]),
        .testTarget(name: "MPIMessagePassingTests", dependencies: ["TestSupport"]),
        .testTarget(name: "RandomnessTests", dependencies: ["Randomness"]),
        .testTarget(name: "TensorsTests", dependencies: ["Randomness", "Tensors", "TestSupport"]),
        .target(
            name: "GradientChecks", dependencies: ["Layers", "Randomness", "Tensors"], path: "Tests/GradientChecks"),
        .testTarget(
            name: "LayersTests", dependencies: ["GradientChecks", "Layers", "Randomness", "Tensors"],
            exclude: ["Golden"]),
        .testTarget(
            name: "SafetensorsTests", dependencies: ["Randomness", "Safetensors", "Tensors", "TestSupport"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "MixtralTests",
            dependencies: ["GradientChecks", "Layers", "Mixtral", "Randomness", "Safetensors", "Tensors"],
            exclude: ["Golden"]),
        .testTarget(name: "TokenDataTests", dependencies: ["TestSupport", "TokenData"], exclude: ["Golden"]),
        .testTarget(
            name: "CheckpointsTests",
            dependencies: [
                "Checkpoints", "ControlTestSupport", "ExpertPlacement", "Layers", "Randomness", "Safetensors",
                "Tensors", "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
            ]),
        .testTarget(
            name: "UpcyclingTests",
            dependencies: ["Checkpoints", "Layers", "Mixtral", "Safetensors", "Tensors", "Upcycling"],
            exclude: ["Golden"]),
        .testTarget(
            name: "ExpertPlacementTests",
            dependencies: ["ExpertPlacement", "PlacementInvariance", "Randomness", "TestSupport"],
            exclude: ["Golden"]),
        .testTarget(
            name: "ExpertParallelismTests",
            dependencies: [
                "CommunicatorConformance", "ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing",
                "Mixtral", "PlacementInvariance", "Randomness", "Tensors", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ]),
        .target(
            name: "ControlTestSupport",
            dependencies: [
                "ControlProtocol", "CoordinatorCore", "ExpertPlacement", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/ControlTestSupport"),
        .testTarget(
            name: "ControlProtocolTests",
            dependencies: [
                "ControlProtocol", "ControlTestSupport", "ExpertPlacement", "TestSupport",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "FlyingSocks", package: "FlyingFox"),
            ], exclude: ["Golden"]),
        .testTarget(
            name: "TracesTests",
            dependencies: ["ControlProtocol", "ControlTestSupport", "ExpertPlacement", "TestSupport", "Traces"],
            exclude: ["Fixtures"]),
        .testTarget(
            name: "PlanningProgramsTests",
            dependencies: [
                "ControlProtocol", "ControlTestSupport", "ExpertPlacement", "PlanningPrograms", "TestSupport",
            ]),
        .testTarget(
            name: "CoordinatorCoreTests",
            dependencies: [
                "ControlProtocol", "ControlTestSupport", "CoordinatorCore", "ExpertPlacement", "TestSupport",
            ]),
        // A file system for SQLite that loses power and fails.
        .target(
            name: "SQLiteFaults", path: "Tests/SQLiteFaults", linkerSettings: [.linkedLibrary("sqlite3")]),
        .testTarget(
            name: "CoordinatorServiceTests",
            dependencies: [
                "ControlProtocol", "ControlTestSupport", "CoordinatorCore", "CoordinatorService", "ExpertPlacement",
                "PlanningPrograms", "SQLiteFaults", "TestSupport",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"),
            ], exclude: ["Fixtures", "noise_peer.py", "openapi_check.py"]),
        // What takes bytes from outside, for libFuzzer and for tests that replay what it found.
        .target(
            name: "FuzzTargets",
            dependencies: [
                "ControlProtocol", "CoordinatorCore", "ExpertPlacement",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            path: "Tests/Fuzzing/Targets"),
        .testTarget(name: "FuzzTargetsTests", dependencies: ["ControlProtocol", "ControlTestSupport", "FuzzTargets"]),
        .testTarget(
            name: "PrometheusMetricsTests",
            dependencies: ["PrometheusMetrics", "TestSupport", .product(name: "CoreMetrics", package: "swift-metrics")]),
        .testTarget(
            name: "SettingsTests",
            dependencies: ["Settings", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
        .testTarget(name: "ListingsTests", dependencies: ["Listings"]),
        .testTarget(
            name: "StructuredLogsTests",
            dependencies: ["StructuredLogs", .product(name: "Logging", package: "swift-log")]),
        .testTarget(name: "TensorBoardTests", dependencies: ["TensorBoard", "TestSupport"]),
        .testTarget(
            name: "WorkerRuntimeTests",
            dependencies: [
                "Checkpoints", "CommunicatorConformance", "ControlProtocol", "ControlTestSupport",
                "CoordinatorService", "ExpertParallelism", "ExpertPlacement", "Layers", "MessagePassing", "Mixtral",
                "Randomness", "Tensors", "TokenData", "TestSupport", "WorkerRuntime",
                .product(name: "FlyingSocks", package: "FlyingFox"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .testTarget(
            name: "ProgramsTests",
            dependencies: [
                "Checkpoints", "ControlProtocol", "ControlTestSupport", "custom-allocator", "custom-dispatcher",
                "ExpertPlacement", "moe-coordinator", "moe-ctl", "moe-worker", "parallelize-model", "Settings",
                "Tensors", "TestSupport", "Traces",
                .product(name: "GRDB", package: "GRDB.swift"),
            ], exclude: ["dashboard.py", "dashboard_page.py"]),
    ],
    swiftLanguageModes: [.v6]
)

// Continuous integration tolerates no warnings; elsewhere a newer compiler may have more of them.
let warnings: [SwiftSetting] =
    Context.environment["WARNINGS_AS_ERRORS"] == "1" ? [.treatAllWarnings(as: .error)] : []

// Settings for all Swift targets; system libraries take none.
for target in package.targets where target.type != .system {
    target.swiftSettings =
        (target.swiftSettings ?? []) + [
            .enableUpcomingFeature("ExistentialAny"),
            .enableUpcomingFeature("MemberImportVisibility"),
            .enableExperimentalFeature("Lifetimes"),
        ] + warnings
}
