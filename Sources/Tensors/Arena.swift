import Glibc

/// Address space in which blocks of any size are laid out: each at the lowest place that has room, and neighbours that are free
/// become one. What a training step takes then ends not far above what its tensors hold at once, whatever sizes routing gives them.
struct Arena {
    /// Chunks are made of huge pages, which make passes over large blocks up to 40 % faster.
    private static let hugePageBytes = 2 << 20
    /// What is given back to the system at least. (It breaks up huge pages for that.)
    static let pageBytes = 64 << 10
    /// What the system is asked for at least, and so much again as there is, up to the largest: address space may be limited, too.
    private static let chunkBytes = (least: 64 << 20, largest: 1 << 30)

    /// Address space from the system. It takes memory, page by page, when it is first written.
    private struct Chunk {
        let base: UnsafeMutableRawPointer
        /// Pages that were in a block since the system had them last.
        var isTouched: [Bool]

        var bytes: Int { isTouched.count * pageBytes }

        static func pages(_ range: Range<Int>) -> Range<Int> {
            range.lowerBound / pageBytes..<(range.upperBound + pageBytes - 1) / pageBytes
        }
        /// Pages that lie in `range` as a whole.
        static func wholePages(_ range: Range<Int>) -> Range<Int> {
            let first = (range.lowerBound + pageBytes - 1) / pageBytes
            return first..<max(first, range.upperBound / pageBytes)
        }
    }

    private struct Extent {
        let chunk: Int
        var range: Range<Int>
    }

    private var chunks = [Chunk]()
    /// Ascending, and no two of them touch.
    private var free = [Extent]()
    /// Bytes of pages that blocks were the first to have, or the first since the system had them back.
    private(set) var touchedBytes = 0

    /// Uninitialised memory for `bytes` bytes, which are a multiple of the alignment.
    mutating func take(_ bytes: Int) -> UnsafeMutableRawPointer {
        let index = free.firstIndex { $0.range.count >= bytes } ?? grow(bytes)
        let (chunk, start) = (free[index].chunk, free[index].range.lowerBound)
        if free[index].range.count == bytes {
            free.remove(at: index)
        } else {
            free[index].range = start + bytes..<free[index].range.upperBound
        }
        for page in Chunk.pages(start..<start + bytes) where !chunks[chunk].isTouched[page] {
            chunks[chunk].isTouched[page] = true
            touchedBytes += Self.pageBytes
        }
        return chunks[chunk].base + start
    }

    /// Takes back what `take` gave.
    mutating func give(_ block: UnsafeMutableRawPointer, _ bytes: Int) {
        guard let chunk = chunks.firstIndex(where: { $0.base <= block && block < $0.base + $0.bytes }) else {
            preconditionFailure("a block of another arena")
        }
        var range = block - chunks[chunk].base..<block - chunks[chunk].base + bytes
        // The first extent behind the block.
        var index = free.partitioningIndex {
            $0.chunk > chunk || ($0.chunk == chunk && $0.range.lowerBound >= range.upperBound)
        }
        if index < free.count, free[index].chunk == chunk, free[index].range.lowerBound == range.upperBound {
            range = range.lowerBound..<free[index].range.upperBound
            free.remove(at: index)
        }
        if index > 0, free[index - 1].chunk == chunk, free[index - 1].range.upperBound == range.lowerBound {
            index -= 1
            range = free[index].range.lowerBound..<range.upperBound
            free.remove(at: index)
        }
        free.insert(Extent(chunk: chunk, range: range), at: index)
    }

    /// Bytes of free pages that still take memory.
    var freeBytes: Int {
        free.reduce(0) { sum, extent in
            sum + Chunk.wholePages(extent.range).count { chunks[extent.chunk].isTouched[$0] } * Self.pageBytes
        }
    }

    /// Gives free pages back to the system, the highest first, until they take `kept` bytes.
    mutating func trim(to kept: Int) {
        var surplus = (freeBytes - kept) / Self.pageBytes
        for extent in free.reversed() {
            let (chunk, pages) = (extent.chunk, Chunk.wholePages(extent.range))
            var end = pages.upperBound
            while end > pages.lowerBound, surplus > 0 {
                guard chunks[chunk].isTouched[end - 1] else {
                    end -= 1
                    continue
                }
                // As many as lie together, at once.
                var start = end
                while start > pages.lowerBound, surplus > 0, chunks[chunk].isTouched[start - 1] {
                    start -= 1
                    surplus -= 1
                    chunks[chunk].isTouched[start] = false
                }
                madvise(chunks[chunk].base + start * Self.pageBytes, (end - start) * Self.pageBytes, MADV_DONTNEED)
                end = start
            }
        }
    }

    /// - Returns: the index of a free extent of `bytes` bytes or more.
    private mutating func grow(_ bytes: Int) -> Int {
        let usual = min(max(Self.chunkBytes.least, chunks.reduce(0) { $0 + $1.bytes }), Self.chunkBytes.largest)
        guard let chunk = Self.chunk(max(bytes, usual)) ?? Self.chunk(bytes) else { Self.endWithoutMemory(bytes) }
        chunks.append(chunk)
        free.append(Extent(chunk: chunks.count - 1, range: 0..<chunk.bytes))
        return free.count - 1
    }

    /// Address space for `bytes` bytes; nil: the system has none.
    private static func chunk(_ bytes: Int) -> Chunk? {
        let size = (bytes + hugePageBytes - 1) / hugePageBytes * hugePageBytes
        // A page more, so that the first can begin where huge pages do.
        let space = mmap(
            nil, size + hugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let space, space != MAP_FAILED else { return nil }
        let base = space.alignedUp(toMultipleOf: hugePageBytes)
        // Advice only: where there are no huge pages, nothing changes.
        madvise(base, size, MADV_HUGEPAGE)
        return Chunk(base: base, isTouched: [Bool](repeating: false, count: size / pageBytes))
    }

    /// Nothing can go on without memory, and an error could not be handed on without some.
    private static func endWithoutMemory(_ bytes: Int) -> Never {
        var text =
            "the system has no memory for a tensor of \(bytes) bytes; use more ranks, more --micro-batches, or a smaller model\n"
        text.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
        _exit(1)
    }
}

extension Array {
    /// The index of the first element that meets `condition`, as all behind it do.
    fileprivate func partitioningIndex(where condition: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if condition(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
