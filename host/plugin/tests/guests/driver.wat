;; A storage driver that does what the first letter of the path says; the letter is also what its handles stand for.
;; get: `t` says why and crashes, `l` never ends, `c` logs and never ends, `m` takes memory until there is none, `a` takes handles,
;; `r` recurses, `b` gives 100 bytes whatever is allowed; anything else gives `hello`.
;; read: says 10 bytes; `s` gives 5 of them, `m` goes on giving, `h` gives 300000 at once, `t` crashes at the first chunk, `o` says
;; fewer bytes than the offset; anything else gives 10.
;; children and walk: `o` gives two entries in the wrong order, `e` one and the same for ever, `x` one of another folder, `n` one that
;; is no path; anything else gives none.
;; stat: `p` answers for another path, `z` says impossible nanoseconds; anything else is a folder.
;; write: `t` crashes.
(module
  (import "transom:common/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "[export]transom:storage/driver@0.1.0" "[resource-new]reader" (func $reader (param i32) (result i32)))
  (import "[export]transom:storage/driver@0.1.0" "[resource-new]writer" (func $writer (param i32) (result i32)))
  (import "[export]transom:storage/driver@0.1.0" "[resource-new]entries" (func $entries (param i32) (result i32)))
  (memory (export "memory") 16)
  (global $next (mut i32) (i32.const 65536))
  (global $turn (mut i32) (i32.const 0))
  (data (i32.const 1024) "odds0.1.0")
  (data (i32.const 1100) "the sky fell")
  (data (i32.const 1200) "/o/b/o/a/e/a/y/a!bad")
  (data (i32.const 1300) "hello")
  (data (i32.const 2048) "\00\04\00\00\04\00\00\00\04\04\00\00\05\00\00\00")

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $next) (i32.const 500000)) (then (global.set $next (i32.const 65536))))
    (local.get $at))

  (func $forever (loop $again (br $again)))
  (func $deeper (param $depth i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))
  (func $fall (call $log (i32.const 4) (i32.const 1100) (i32.const 12)) (unreachable))
  (func $grab
    (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (unreachable))

  ;; The letter after the slash; 0 for the root.
  (func $letter (param $path i32) (param $length i32) (result i32)
    (if (result i32) (i32.gt_u (local.get $length) (i32.const 1))
      (then (i32.load8_u offset=1 (local.get $path)))
      (else (i32.const 0))))

  ;; At 512: success, with two words.
  (func $good (param $one i32) (param $two i32) (result i32)
    (i64.store (i32.const 512) (i64.const 0))
    (i32.store (i32.const 520) (local.get $one))
    (i32.store (i32.const 524) (local.get $two))
    (i32.const 512))

  (func (export "transom:storage/plugin@0.1.0#describe") (result i32) (i32.const 2048))
  (func (export "transom:storage/plugin@0.1.0#open") (result i32) (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#capabilities-of") (result i32) (i32.const 0))

  (func (export "transom:storage/driver@0.1.0#get") (param $path i32) (param $length i32) (param i64) (result i32)
    (local $letter i32)
    (local.set $letter (call $letter (local.get $path) (local.get $length)))
    (if (i32.eq (local.get $letter) (i32.const 116)) (then (call $fall)))
    (if (i32.eq (local.get $letter) (i32.const 108)) (then (call $forever)))
    (if (i32.eq (local.get $letter) (i32.const 109)) (then (call $grab)))
    (if (i32.eq (local.get $letter) (i32.const 114)) (then (drop (call $deeper (i32.const 0)))))
    (if (i32.eq (local.get $letter) (i32.const 97)) (then (loop $again (drop (call $reader (i32.const 1))) (br $again))))
    (if (i32.eq (local.get $letter) (i32.const 99)) (then
      (loop $again (call $log (i32.const 0) (i32.const 1100) (i32.const 12)) (br $again))))
    (if (i32.eq (local.get $letter) (i32.const 98)) (then (return (call $good (i32.const 4096) (i32.const 100)))))
    (call $good (i32.const 1300) (i32.const 5)))

  (func (export "transom:storage/driver@0.1.0#put") (param i32 i32 i32 i32 i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))

  ;; At 512: a file of 10 bytes, or 0, and a reader.
  (func (export "transom:storage/driver@0.1.0#read") (param $path i32) (param $length i32) (param i64) (result i32)
    (local $letter i32)
    (local.set $letter (call $letter (local.get $path) (local.get $length)))
    (global.set $turn (i32.const 0))
    (memory.fill (i32.const 512) (i32.const 0) (i32.const 64))
    (i64.store (i32.const 520) (if (result i64) (i32.eq (local.get $letter) (i32.const 111))
      (then (i64.const 0)) (else (i64.const 10))))
    (i32.store (i32.const 552) (call $reader (local.get $letter)))
    (i32.const 512))

  (func (export "transom:storage/driver@0.1.0#[method]reader.read") (param $letter i32) (param i32) (result i32)
    (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
    (if (i32.eq (local.get $letter) (i32.const 116)) (then (call $fall)))
    (if (i32.eq (local.get $letter) (i32.const 104)) (then (return (call $good (i32.const 4096) (i32.const 300000)))))
    (if (i32.eq (local.get $letter) (i32.const 109)) (then (return (call $good (i32.const 4096) (i32.const 10)))))
    (if (i32.gt_u (global.get $turn) (i32.const 1)) (then (return (call $good (i32.const 4096) (i32.const 0)))))
    (if (i32.eq (local.get $letter) (i32.const 115)) (then (return (call $good (i32.const 4096) (i32.const 5)))))
    (call $good (i32.const 4096) (i32.const 10)))

  (func (export "transom:storage/driver@0.1.0#open-writer") (param $path i32) (param $length i32) (param i32) (result i32)
    (call $good (call $writer (call $letter (local.get $path) (local.get $length))) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[method]writer.size") (param i32) (result i64) (i64.const 0))
  (func (export "transom:storage/driver@0.1.0#[method]writer.write") (param $letter i32) (param i32 i32) (result i32)
    (if (i32.eq (local.get $letter) (i32.const 116)) (then (call $fall)))
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[static]writer.commit") (param i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[static]writer.commit-to") (param i32 i32 i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[static]writer.close") (param i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[static]writer.cancel") (param i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))

  ;; At 512: an entry, a folder unless the letter is `z`.
  (func (export "transom:storage/driver@0.1.0#stat") (param $path i32) (param $length i32) (result i32)
    (local $letter i32)
    (local.set $letter (call $letter (local.get $path) (local.get $length)))
    (memory.fill (i32.const 512) (i32.const 0) (i32.const 64))
    (i32.store (i32.const 520) (local.get $path))
    (i32.store (i32.const 524) (local.get $length))
    (i32.store8 (i32.const 528) (i32.const 1))
    (if (i32.eq (local.get $letter) (i32.const 112)) (then
      (i32.store (i32.const 520) (i32.const 1212))
      (i32.store (i32.const 524) (i32.const 4))))
    (if (i32.eq (local.get $letter) (i32.const 122)) (then
      (i32.store8 (i32.const 528) (i32.const 0))
      (i32.store8 (i32.const 544) (i32.const 1))
      (i32.store (i32.const 560) (i32.const 2000000000))))
    (i32.const 512))

  (func (export "transom:storage/driver@0.1.0#children") (param $path i32) (param $length i32) (result i32)
    (call $good (call $entries (call $letter (local.get $path) (local.get $length))) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#walk") (param $path i32) (param $length i32) (param i32 i32 i32) (result i32)
    (call $good (call $entries (call $letter (local.get $path) (local.get $length))) (i32.const 0)))

  ;; A folder, as an entry.
  (func $folder (param $at i32) (param $path i32)
    (memory.fill (local.get $at) (i32.const 0) (i32.const 48))
    (i32.store (local.get $at) (local.get $path))
    (i32.store offset=4 (local.get $at) (i32.const 4))
    (i32.store8 offset=8 (local.get $at) (i32.const 1)))

  (func (export "transom:storage/driver@0.1.0#[method]entries.next") (param $letter i32) (param i32) (result i32)
    (if (i32.eq (local.get $letter) (i32.const 111)) (then
      (call $folder (i32.const 4096) (i32.const 1200))
      (call $folder (i32.const 4144) (i32.const 1204))
      (return (call $good (i32.const 4096) (i32.const 2)))))
    (if (i32.eq (local.get $letter) (i32.const 101)) (then
      (call $folder (i32.const 4096) (i32.const 1208))
      (return (call $good (i32.const 4096) (i32.const 1)))))
    (if (i32.eq (local.get $letter) (i32.const 120)) (then
      (call $folder (i32.const 4096) (i32.const 1212))
      (return (call $good (i32.const 4096) (i32.const 1)))))
    (if (i32.eq (local.get $letter) (i32.const 110)) (then
      (call $folder (i32.const 4096) (i32.const 1216))
      (return (call $good (i32.const 4096) (i32.const 1)))))
    (call $good (i32.const 4096) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#[method]entries.skip") (param i32 i32 i32))

  (func (export "transom:storage/driver@0.1.0#rename") (param i32 i32 i32 i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#delete") (param i32 i32) (result i32)
    (call $good (i32.const 0) (i32.const 0)))
  (func (export "transom:storage/driver@0.1.0#redirect") (param i32 i32 i32 i32) (result i32)
    (call $good (i32.const 0) (i32.const 0))))
