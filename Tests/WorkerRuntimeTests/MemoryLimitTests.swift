import ControlTestSupport
import Foundation
import Testing
import WorkerRuntime

@Suite struct MemoryLimitTests {
    /// The limit on a machine of 1 GB with these files besides.
    private func limit(_ files: [String: String]) throws -> Int? {
        let root = FileManager.default.temporaryDirectory.appending(path: "moe-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: root) }
        let machine = ["proc/meminfo": "MemTotal:        1048576 kB\nMemFree:          524288 kB\n"]
        for (path, text) in files.merging(machine, uniquingKeysWith: { own, _ in own }) {
            let file = root.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return MemoryLimit.all(files: root.path + "/").map(\.bytes).min()
    }

    private static let machineBytes = 1 << 30

    @Test func theMachineIsTheLimitOtherwise() throws {
        #expect(try limit([:]) == Self.machineBytes)
        #expect(try limit(["proc/meminfo": "MemFree: 12 kB\n"]) == nil)
        #expect(try limit(["proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"]) == Self.machineBytes)
        #expect(
            try limit(["proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2147483648\n"]) == Self.machineBytes)
        #expect(
            try limit(["proc/self/cgroup": "nonsense\n::\n", "sys/fs/cgroup/memory.max": "-\n"]) == Self.machineBytes)
    }

    /// Two ranks have a group each within that of their job, one more has none; all are on one machine.
    @Test func theRanksUnderALimitShareIt() {
        let machine = MemoryLimit(group: 0, bytes: 3_000)
        let job = MemoryLimit(group: 7, bytes: 1_600)
        let own = MemoryLimit(group: 8, bytes: 700)
        let groups = [[8, 7, 0], [9, 7, 0], [0]]
        #expect(MemoryLimit.part(of: [own, job, machine], groups: groups) == 700)
        #expect(MemoryLimit.part(of: [MemoryLimit(group: 9, bytes: 900), job, machine], groups: groups) == 800)
        #expect(MemoryLimit.part(of: [machine], groups: groups) == 1_000)
        #expect(MemoryLimit.part(of: [], groups: [[]]) == nil)
    }

    @Test func groupsAreTold() throws {
        let folder = try TemporaryFolder()
        for name in ["one", "two"] {
            let group = folder.url.appending(path: "\(name)/sys/fs/cgroup/job")
            try FileManager.default.createDirectory(at: group, withIntermediateDirectories: true)
            try Data("5000\n".utf8).write(to: group.appending(path: "memory.max"))
            let process = folder.url.appending(path: "\(name)/proc/self")
            try FileManager.default.createDirectory(at: process, withIntermediateDirectories: true)
            try Data("0::/job\n".utf8).write(to: process.appending(path: "cgroup"))
        }
        let limits = ["one", "two"].map { MemoryLimit.all(files: folder.path($0) + "/") }
        #expect(limits.allSatisfy { $0.map(\.bytes) == [5_000] })
        // The same path in two containers.
        #expect(limits[0] != limits[1])
    }

    @Test func eachGroupOnTheWayUpLimits() throws {
        var files = [
            "proc/self/cgroup": "0::/system.slice/job_1\n", "sys/fs/cgroup/system.slice/job_1/memory.max": "max\n",
            "sys/fs/cgroup/system.slice/memory.max": "5000\n", "sys/fs/cgroup/memory.max": "7000\n",
            "sys/fs/cgroup/system.slice/job_2/memory.max": "10\n",
        ]
        #expect(try limit(files) == 5000)
        files["sys/fs/cgroup/system.slice/job_1/memory.max"] = "3000\n"
        #expect(try limit(files) == 3000)
        // In a container, its own group is the root.
        files["proc/self/cgroup"] = "0::/\n"
        #expect(try limit(files) == 7000)
    }

    @Test func versionOneHasAHierarchyForMemory() throws {
        var files = [
            "proc/self/cgroup": "5:cpu,cpuacct:/cpus\n4:memory:/slurm/job_1\n1:name=systemd:/x\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/slurm/memory.limit_in_bytes": "9000\n",
            "sys/fs/cgroup/memory/cpus/memory.limit_in_bytes": "10\n",
        ]
        #expect(try limit(files) == 9000)
        files["sys/fs/cgroup/memory/slurm/job_1/memory.limit_in_bytes"] = "4000\n"
        #expect(try limit(files) == 4000)
    }
}
